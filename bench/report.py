"""Rows, verdicts and the two forms of the table."""

import dataclasses
import json
import statistics

SHOWN, PASS, FAIL, MISSING = 'shown', 'pass', 'FAIL', 'not measured'


@dataclasses.dataclass
class Row:
    """One comparison. `ours` and `theirs` hold one number a round, in the order measured.

    Exactly one of `ratio_min` (ours over theirs, of rates) and `value_max` (ours itself) is a bound;
    neither means that the row is shown for information. `faults` are reasons why the number does not
    count whatever it is; `notes` are said beside it.
    """
    name: str
    what: str
    unit: str
    ours: list
    against: str = ''
    theirs: list = dataclasses.field(default_factory=list)
    ratio_min: float | None = None
    value_max: float | None = None
    lower_is_better: bool = False
    seen: str = ''
    cpu_us: tuple = (None, None)
    faults: list = dataclasses.field(default_factory=list)
    notes: list = dataclasses.field(default_factory=list)

    def ratios(self):
        """How many times better ours is, a round each."""
        pairs = [(o, t) for o, t in zip(self.ours, self.theirs) if o > 0 and t > 0]
        return [t / o if self.lower_is_better else o / t for o, t in pairs]

    def ratio(self):
        if not self.ours or not self.theirs:
            return None
        ours, theirs = statistics.median(self.ours), statistics.median(self.theirs)
        if ours <= 0 or theirs <= 0:
            return None
        return theirs / ours if self.lower_is_better else ours / theirs

    def required(self):
        if self.ratio_min is not None:
            return f'≥ {self.ratio_min:g} ×'
        if self.value_max is not None:
            return f'≤ {self.value_max:g} {self.unit}'
        return '–'

    def verdict(self):
        if self.faults:
            bounded = self.ratio_min is not None or self.value_max is not None
            return FAIL if bounded else MISSING
        if self.ratio_min is not None:
            ratio = self.ratio()
            return PASS if ratio is not None and ratio >= self.ratio_min else FAIL
        if self.value_max is not None:
            return PASS if self.ours and statistics.median(self.ours) <= self.value_max else FAIL
        return SHOWN


def number(value):
    if value is None:
        return '–'
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def measured(values):
    if not values:
        return '–'
    text = number(statistics.median(values))
    if len(values) > 1:
        text += f' ({number(min(values))}..{number(max(values))})'
    return text


def ratio_text(row):
    if row.ratio() is None:
        return '–'
    ratios = row.ratios()
    text = f'{row.ratio():.3g}'
    return text + f' ({min(ratios):.3g}..{max(ratios):.3g})' if len(ratios) > 1 else text


HEADINGS = ['row', 'what', 'unit', 'wscope (range)', 'against', 'theirs (range)', 'times better (range)',
            'required', 'seen elsewhere', 'server CPU µs each: wscope / theirs', 'verdict', 'remarks']


def cells(row):
    ours_cpu, their_cpu = row.cpu_us
    cpu = '' if ours_cpu is None and their_cpu is None else f'{number(ours_cpu)} / {number(their_cpu)}'
    return [row.name, row.what, row.unit, measured(row.ours), row.against, measured(row.theirs),
            ratio_text(row), row.required(), f'[{row.seen}]' if row.seen else '', cpu, row.verdict(),
            '; '.join(row.faults + row.notes)]


def markdown(rows, facts):
    lines = ['# wscope against its peers', '']
    lines += [f'- {key}: {value}' for key, value in facts.items()]
    lines += ['', '| ' + ' | '.join(HEADINGS) + ' |', '|' + '---|' * len(HEADINGS)]
    lines += ['| ' + ' | '.join(cell.replace('|', '/') for cell in cells(row)) + ' |' for row in rows]
    return '\n'.join([*lines, '', summary(rows), ''])


def as_json(rows, facts):
    items = []
    for row in rows:
        item = dataclasses.asdict(row)
        item.update(ratio=row.ratio(), ratios=row.ratios(), required=row.required(),
                    verdict=row.verdict())
        items.append(item)
    return json.dumps({'facts': facts, 'rows': items}, indent=1, ensure_ascii=False) + '\n'


def summary(rows):
    verdicts = [row.verdict() for row in rows]
    return (f'{verdicts.count(PASS)} rows pass, {verdicts.count(FAIL)} fail, '
            f'{verdicts.count(SHOWN)} shown without a bound, '
            f'{verdicts.count(MISSING)} without a bound not measured')
