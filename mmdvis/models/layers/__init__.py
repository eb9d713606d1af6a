"""Building blocks shared by the stages."""
