"""Plan of a small study."""

import yaml

from helpers.commands import ROOT


def plan_of_rows(folder, **changes):
    config = str(ROOT / 'configs/toy/minvis_r18_1xb8-t1_toy.py')
    rows = dict(a=dict(config=config), scored=dict(config=config, iters=0, start='a'))
    rows['after'] = dict(config=config, start='scored')
    plan = dict(title='t', baseline='a', seeds=[0, 1], metrics=['VPQ'], rows=rows)
    (folder / 'plan.yml').write_text(yaml.safe_dump({**plan, **changes}, sort_keys=False))
    return folder / 'plan.yml'
