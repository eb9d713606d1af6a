"""Models by name: the entries of the metafiles, with weights in the package and weights of other projects."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mmdvis.errors import CheckpointError

from .downloads import cached_path, download

SHIPPED = Path(__file__).parents[1] / '.mim'  # configs and metafiles of an installation, links in a checkout
EMBEDDED = Path(__file__).parent / 'embedded'
LOGGER = logging.getLogger('mmdvis')
DEFAULT = 'minvis_r50_coco-panoptic'
EMBEDDED_MODEL = 'dvis-offline_toy'


@dataclass(frozen=True)
class Origin:
    """Weights of another project, which are converted when they are loaded.

    Attributes:
        project: Name of the project.
        page: Page that describes the weights.
        weights: Address of the file; None if it has none, so that it must be fetched by hand from the page.
        file: Name of the file on the page, if there is no address.
        hash_kind: ``'sha256'`` or ``'md5'``.
        hash_start: First digits of the hash; empty if unknown.
    """

    project: str
    page: str
    weights: str | None = None
    file: str = ''
    hash_kind: str = 'sha256'
    hash_start: str = ''


@dataclass(frozen=True)
class ModelEntry:
    """A model of the metafiles.

    Attributes:
        name: Name of the model.
        collection: Name of the method.
        config: Path of the config.
        data: Data that the recipe trains on, as text.
        embedded: Path of weights in the package; None if there are none.
        origin: Weights of another project; None if there are none.
        short_edge: Short edge in pixels that the weights were trained for; None if there are no weights.
        licence: Licence of the weights; None if there are none.
        task: What the model predicts, e.g. ``'VPS'``.
        num_classes: Number of classes; None if unknown.
        parameters: Number of parameters, as text.
        score: Results of the weights that were measured with mmdvis, as text; None if there are none.
        published: Results that the authors of the weights published, as text; None if there are none.
        verified: How the weights were verified with mmdvis, as text.
    """

    name: str
    collection: str
    config: Path
    data: str
    embedded: Path | None = None
    origin: Origin | None = None
    short_edge: int | None = None
    licence: str | None = None
    task: str = ''
    num_classes: int | None = None
    parameters: str = ''
    score: str | None = None
    published: str | None = None
    verified: str = ''

    @property
    def weights(self) -> Path | None:
        """Path of the weights if they are on this machine, else None."""
        place = self.place_of_weights
        return place if place is not None and place.exists() else None

    @property
    def place_of_weights(self) -> Path | None:
        """Path that the weights have, or will have when they are downloaded; None if they have no address."""
        if self.embedded is not None:
            return self.embedded
        return None if self.origin is None or self.origin.weights is None else cached_path(self.origin.weights)

    @property
    def can_be_loaded(self) -> bool:
        """Whether the weights are on this machine or have an address."""
        return self.weights is not None or (self.origin is not None and self.origin.weights is not None)

    def find_weights(self, progress: bool = True) -> Path:
        """Path of the weights, which are downloaded if necessary.

        Raises:
            CheckpointError: There are none, or they cannot be downloaded.
        """
        if self.weights is not None:
            return self.weights
        origin = self.origin
        if origin is None:
            raise CheckpointError(
                f'no weights of {self.name} are published with mmdvis; get a checkpoint (see '
                'docs/en/official_weights.md) and name it as weights'
            )
        if origin.weights is None:
            raise CheckpointError(
                f'the weights of {self.name} have no direct download link; download {origin.file} from {origin.page} '
                'and give its path as weights (--weights on the command line)'
            )
        return download(origin.weights, origin.hash_kind, origin.hash_start, progress)


def model_entries() -> dict[str, ModelEntry]:
    """Name -> entry of all models: those with weights, those whose weights must be fetched by hand, and recipes.

    Raises:
        CheckpointError: The metafiles are not installed.
    """
    index = SHIPPED / 'model-index.yml'
    if not index.exists():
        raise CheckpointError(f'{index} is missing, so models have no names; install mmdvis again with pip')
    entries: list[ModelEntry] = []
    for path in yaml.safe_load(index.read_text())['Import']:
        content = yaml.safe_load((SHIPPED / path).read_text())
        default_data = {item['Name']: data_of(item.get('Metadata', {})) for item in content['Collections']}
        for model in content['Models']:
            entries += entries_of(model, default_data.get(model['In Collection'], ''))
    return {entry.name: entry for entry in sorted(entries, key=lambda e: (not e.can_be_loaded, e.origin is None))}


def entries_of(model: dict[str, Any], default_data: str) -> Iterator[ModelEntry]:
    """The entries of a model in a metafile: itself, and one for each weights of another project that fit it."""
    metadata = model.get('Metadata', {})
    file = metadata.get('Embedded Weights')
    entry = ModelEntry(
        metadata.get('Alias', model['Name']),
        model['In Collection'],
        SHIPPED / model['Config'],
        data_of(metadata) or default_data,
        EMBEDDED / file if file else None,
        short_edge=metadata.get('Short Edge'),
        licence=metadata.get('License'),
        task=metadata.get('Task', ''),
        num_classes=metadata.get('Classes'),
        parameters=metadata.get('Parameters', ''),
        score=metadata.get('Score'),
        verified=metadata.get('Verified', ''),
    )
    yield entry
    for item in model.get('Converted From', ()):
        hash_kind = 'md5' if 'MD5' in item else 'sha256'
        hash_start = str(item.get('MD5', item.get('SHA256', '')))
        weights, name = item.get('Weights'), item.get('File', '')
        yield replace(
            entry,
            name=item['Name'],
            origin=Origin(item['Project'], item['Page'], weights, name, hash_kind, hash_start),
            short_edge=item['Short Edge'],
            licence=item['License'],
            task=item['Task'],
            num_classes=item['Classes'],
            published=item.get('Published'),
            verified=item['Verified'],
        )


def data_of(metadata: dict[str, Any]) -> str:
    """The training data of a metafile entry as text."""
    data = metadata.get('Training Data', '')
    return ', '.join(data) if isinstance(data, list) else str(data)


def find_entry(name: str) -> ModelEntry:
    """The entry of a model.

    Raises:
        CheckpointError: There is no model of this name.
    """
    entries = model_entries()
    if name not in entries:
        similar = [other for other in entries if name.split('_')[0] in other][:3] or [DEFAULT]
        raise CheckpointError(
            f'there is no model {name}; give a config, a checkpoint, or a name that `mmdvis models` lists, such as '
            f'{", ".join(similar)}'
        )
    return entries[name]


def default_model() -> str:
    """Name of the default model, or, with a warning, of the embedded one if its weights cannot be had."""
    try:
        find_entry(DEFAULT).find_weights()
    except (CheckpointError, OSError) as error:
        LOGGER.warning(
            'using %s, which knows shapes of synthetic videos only, because %s is not here: %s',
            EMBEDDED_MODEL,
            DEFAULT,
            error,
        )
        return EMBEDDED_MODEL
    return DEFAULT
