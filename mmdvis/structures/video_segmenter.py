"""What everything outside ``models`` relies on of a model that segments videos."""

STAGES = ('segmenter', 'tracker', 'refiner')
