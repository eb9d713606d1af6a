"""Names of the stages of a model."""

STAGES = ('segmenter', 'tracker', 'refiner')
