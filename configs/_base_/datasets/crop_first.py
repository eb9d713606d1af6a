# random resize and crop before the other transforms, in the recipes that set it
crop_first = dict(short_edges=[400, 500, 600], max_edge=1333, between=(384, 600), prob=0.5)
