"""Models by name: the entries of the metafiles, and the weights that are part of the package."""

from dataclasses import dataclass
from pathlib import Path

import yaml

import mmdvis
from mmdvis.errors import CheckpointError

SHIPPED = Path(mmdvis.__file__).parent / '.mim'  # configs and metafiles of an installation, links in a checkout
EMBEDDED = Path(__file__).parent / 'embedded'
DEFAULT = 'dvis-offline_toy'


@dataclass(frozen=True)
class ModelEntry:
    """A model of the metafiles.

    Attributes:
        name: Name of the model.
        collection: Name of the method.
        config: Path of the config.
        data: Data that the recipe trains on, as text.
        weights: Path of the weights; None if none are published.
        short_edge: Short edge in pixels that the published weights were trained for; None if there are no weights.
        licence: Licence of the weights; None if there are none.
        score: Measured results of the weights, as text; None if there are none.
    """

    name: str
    collection: str
    config: Path
    data: str
    weights: Path | None = None
    short_edge: int | None = None
    licence: str | None = None
    score: str | None = None


def model_entries() -> dict[str, ModelEntry]:
    """Name -> entry of all models, those with weights first.

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
            metadata = model.get('Metadata', {})
            file, collection = metadata.get('Embedded Weights'), model['In Collection']
            entries.append(
                ModelEntry(
                    metadata.get('Alias', model['Name']),
                    collection,
                    SHIPPED / model['Config'],
                    data_of(metadata) or default_data.get(collection, ''),
                    EMBEDDED / file if file else None,
                    metadata.get('Short Edge'),
                    metadata.get('License'),
                    metadata.get('Score'),
                )
            )
    return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.weights is None)}


def data_of(metadata: dict[str, object]) -> str:
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
