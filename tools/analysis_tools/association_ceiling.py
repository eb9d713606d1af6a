"""Evaluates a segmenter with oracle tracking: predicted masks and classes, identities of the ground truth."""

import argparse
import json

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tqdm import tqdm

from mmdvis.analysis.oracle_tracking import predict_with_oracle_tracking
from mmdvis.apis import init_model
from mmdvis.datasets.transforms import ids_and_labels_of
from mmdvis.io import write_json
from mmdvis.registry import DATASETS, METRICS


def parse_args() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument('config', help='config file of a model without refiner, with VPQ and STQ as test evaluators')
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--metrics', required=True, help='json file to write the metrics to')
    return parser.parse_args()


def main() -> None:
    """Evaluates the test set of the config."""
    args = parse_args()
    init_default_scope('mmdvis')
    config = Config.fromfile(args.config)
    model = init_model(args.config, args.checkpoint)
    dataset = DATASETS.build(config.test_dataloader.dataset)
    metrics = [METRICS.build(metric) for metric in config.test_evaluator]
    for index in tqdm(range(len(dataset)), unit='video'):
        record, item = dataset.get_data_info(index), dataset[index]
        sample = predict_with_oracle_tracking(model, item['inputs'], *ids_and_labels_of(record), item['data_samples'])
        for metric in metrics:
            metric.dataset_meta = dataset.metainfo
            metric.process(None, [sample.to_dict()])
    results = {name: value for metric in metrics for name, value in metric.evaluate(len(dataset)).items()}
    write_json(args.metrics, results, indent=1)
    print(json.dumps(results))


if __name__ == '__main__':
    main()
