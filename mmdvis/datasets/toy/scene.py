"""Synthetic videos in which objects are easy to segment and hard to track.

A scene is drawn once from a random generator; each frame is a pure function of the scene and the time.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

SHAPES = ('disc', 'square', 'triangle', 'star', 'plus', 'capsule')
STUFF = ('sky', 'hill', 'water', 'grass', 'brick')
VOID_ID = 0
STUFF_ID = 200  # the stuff class s has the id STUFF_ID + s; thing ids start at 1


@dataclass(frozen=True)
class SceneOptions:
    """Options from which scenes are drawn. A pair of numbers gives the minimum and the maximum.

    Attributes:
        size: (height, width) in pixels.
        num_frames: Number of frames of a video.
        groups: Number of groups of similar objects that cross each other repeatedly.
        members: Number of objects per group.
        extras: Number of other objects.
        speed: Speed of the other objects in pixels per frame.
        reach: Amplitude of the oscillation of a group member around the centre of its group, in pixels.
        period: Period of this oscillation in frames.
        radius: Radius of objects in pixels.
        hue_gap: Hue difference between the members of a group, as a fraction of the colour wheel.
        pillars: Number of brick pillars, which occlude the objects behind them.
        pillar_width: Width of pillars in pixels.
        swing: Probability that one of the other objects leaves the view and comes back.
        min_area: Objects with fewer visible pixels are labelled as void.
        blots: Number of grey rectangles that hide parts of each frame; they are not labelled, so that only neighbouring
            frames tell what is behind them.
        blot_size: Side of a rectangle in pixels.
        noise: Standard deviation of the noise of the pixels.
    """

    size: tuple[int, int] = (96, 160)
    num_frames: int = 20
    groups: tuple[int, int] = (2, 3)
    members: tuple[int, int] = (2, 3)
    extras: tuple[int, int] = (0, 2)
    speed: tuple[float, float] = (2.0, 5.0)
    reach: tuple[float, float] = (28.0, 52.0)
    period: tuple[float, float] = (11.0, 19.0)
    radius: tuple[float, float] = (9.0, 15.0)
    hue_gap: tuple[float, float] = (0.045, 0.06)
    pillars: tuple[int, int] = (2, 2)
    pillar_width: tuple[float, float] = (24.0, 40.0)
    swing: float = 0.5
    min_area: int = 24
    blots: tuple[int, int] = (0, 0)
    blot_size: tuple[int, int] = (14, 24)
    noise: float = 5.0


SCENES = {  # name -> options; objects of the second one move slowly enough for optical flow
    'crossing': SceneOptions(),
    'blots': SceneOptions(reach=(14.0, 26.0), period=(14.0, 22.0), blots=(3, 5), noise=12.0),
}


@dataclass(frozen=True)
class Thing:
    """One moving object; positions are in world pixels, times in frames, angles in radians.

    Attributes:
        shape: Index into ``SHAPES``.
        hue: Offset from the hue of the shape.
        pitch: Period of the stripes in pixels.
        radius: Mean radius.
        growth: Relative amplitude of the radius over time.
        angle: Angle at time 0.
        spin: Angular velocity.
        centre: Position (x, y) at time ``crossing``.
        crossing: Time at which the object is at ``centre``.
        velocity: Velocity (x, y).
        swing: Amplitude and period of the horizontal oscillation.
    """

    shape: int
    hue: float
    pitch: float
    radius: float
    growth: float
    angle: float
    spin: float
    centre: tuple[float, float]
    crossing: float
    velocity: tuple[float, float]
    swing: tuple[float, float]

    def place(self, t: float) -> tuple[float, float, float, float]:
        """x, y, angle and radius at time t."""
        elapsed = t - self.crossing
        amplitude, period = self.swing
        x = self.centre[0] + self.velocity[0] * elapsed + amplitude * np.sin(2 * np.pi * elapsed / period)
        y = self.centre[1] + self.velocity[1] * elapsed
        return x, y, self.angle + self.spin * t, self.radius * (1 + self.growth * np.sin(elapsed / 6))


@dataclass(frozen=True)
class Scene:
    """Content of a video.

    Attributes:
        options: Options from which the scene was drawn.
        things: Objects in painting order.
        bands: Bands of stuff.
        pillars: Brick pillars in front of the objects.
        camera: Amplitudes and period of the camera motion.
    """

    options: SceneOptions
    things: tuple[Thing, ...]
    bands: tuple[tuple[int, float, float, float], ...]  # class, lower edge, wavelength, phase
    pillars: tuple[tuple[float, float], ...] = ()  # left and right edge
    camera: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 1.0)  # pan, zoom, roll, period

    def view(self, t: float) -> tuple[float, float, float]:
        """Horizontal shift in pixels, scale, and angle of the camera at time t."""
        pan, zoom, roll, period = self.camera
        swing = np.sin(2 * np.pi * t / period)
        return pan * swing, 1 + zoom * swing, roll * swing

    def to_world(self, t: float, columns: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World coordinates (x, y) of pixels at time t."""
        height, width = self.options.size
        shift, scale, angle = self.view(t)
        x, y = columns - width / 2, rows - height / 2
        return (
            scale * (x * np.cos(angle) - y * np.sin(angle)) + width / 2 + shift,
            scale * (x * np.sin(angle) + y * np.cos(angle)) + height / 2,
        )

    def to_pixels(self, t: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel coordinates (columns, rows) of world coordinates at time t; the inverse of :meth:`to_world`."""
        height, width = self.options.size
        shift, scale, angle = self.view(t)
        x, y = (x - width / 2 - shift) / scale, (y - height / 2) / scale
        return x * np.cos(angle) + y * np.sin(angle) + width / 2, -x * np.sin(angle) + y * np.cos(angle) + height / 2


def draw_thing(rng: np.random.Generator, options: SceneOptions) -> Thing:
    """Draws one object outside of groups; with probability ``options.swing`` it leaves the view and comes back."""
    height, width = options.size
    swings = rng.random() < options.swing
    speed = 0.0 if swings else rng.uniform(*options.speed)
    side = rng.choice([-1.0, 1.0])
    return Thing(
        shape=int(rng.integers(len(SHAPES))),
        hue=rng.uniform(-0.02, 0.02),
        pitch=rng.uniform(4, 9),
        radius=rng.uniform(*options.radius),
        growth=rng.uniform(0, 0.25),
        angle=rng.uniform(0, 2 * np.pi),
        spin=rng.uniform(-0.15, 0.15),
        centre=(width / 2 + side * width * (0.42 if swings else rng.uniform(0, 0.3)), height * rng.uniform(0.25, 0.8)),
        crossing=rng.uniform(0, options.num_frames),
        velocity=(-side * speed, rng.uniform(-1, 1)),
        swing=(width * rng.uniform(0.2, 0.35) if swings else 0.0, rng.uniform(14, 26)),
    )


def draw_group(rng: np.random.Generator, options: SceneOptions, shape: int) -> list[Thing]:
    """Draws a group of similar objects of one class that cross each other.

    The members differ slightly in hue and in the period of their stripes.
    """
    height, width = options.size
    number = int(rng.integers(options.members[0], options.members[1] + 1))
    x, y = width * rng.uniform(0.35, 0.65), height * rng.uniform(0.25, 0.75)
    radius, gap, reach = (rng.uniform(*bounds) for bounds in (options.radius, options.hue_gap, options.reach))
    pitch, period, start = rng.uniform(4, 5), rng.uniform(*options.period), rng.uniform(0, 20)
    return [
        Thing(
            shape=shape,
            hue=gap * (k - (number - 1) / 2),
            pitch=pitch * (1 + 0.5 * k),
            growth=rng.uniform(0, 0.25),
            radius=radius * rng.uniform(0.9, 1.1),
            angle=rng.uniform(0, 2 * np.pi),
            spin=rng.uniform(-0.15, 0.15),
            centre=(x, y + rng.uniform(-9, 9)),
            crossing=start + period * k / number + rng.uniform(-1, 1),
            velocity=(rng.uniform(-1, 1), rng.uniform(-0.5, 0.5)),
            swing=(reach * rng.uniform(0.8, 1.2), period),
        )
        for k in range(number)
    ]


def draw_scene(rng: np.random.Generator, options: SceneOptions = SceneOptions()) -> Scene:
    """Draws a scene; the same generator state and options give the same scene."""
    height, width = options.size
    things: list[Thing] = []
    for shape in rng.permutation(len(SHAPES))[: rng.integers(options.groups[0], options.groups[1] + 1)]:
        things += draw_group(rng, options, int(shape))
    things += [draw_thing(rng, options) for _ in range(rng.integers(options.extras[0], options.extras[1] + 1))]
    order = rng.permutation(len(things))
    classes = [0, *(1 + rng.permutation(3)[: rng.integers(1, 3)])]
    edges = np.sort(rng.uniform(0.25, 0.75, len(classes) - 1)) * height
    bands = tuple(
        (int(c), float(edge), rng.uniform(20, 60), rng.uniform(0, 6))
        for c, edge in zip(classes, [*edges, 10.0 * height])
    )
    number = int(rng.integers(options.pillars[0], options.pillars[1] + 1))
    edges = [width * (0.15 + 0.6 * (k + rng.random()) / max(number, 1)) for k in range(number)]
    pillars = tuple((left, left + rng.uniform(*options.pillar_width)) for left in edges)
    camera = (rng.uniform(-14, 14), rng.uniform(-0.08, 0.08), rng.uniform(-0.06, 0.06), rng.uniform(20, 40))
    return Scene(options, tuple(things[i] for i in order), bands, pillars, camera)


def inside(shape: str, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Mask of the points (u, v) inside the shape of unit radius."""
    if shape == 'disc':
        return u**2 + v**2 < 1
    if shape == 'square':
        return np.maximum(abs(u), abs(v)) < 0.85
    if shape == 'triangle':
        return (v > -0.55) & (v < 1 - 1.8 * abs(u))
    if shape == 'star':
        angle = np.arctan2(v, u)
        return np.hypot(u, v) < 0.72 + 0.32 * np.cos(5 * angle)
    if shape == 'plus':
        return (np.minimum(abs(u), abs(v)) < 0.33) & (np.maximum(abs(u), abs(v)) < 1)
    return np.hypot(np.maximum(abs(u) - 0.6, 0), v) < 0.5


def stuff_colour(kind: int, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Texture of a stuff class at world points, (..., 3) in [0, 255]."""
    base = np.array([(150, 190, 235), (120, 100, 85), (50, 90, 150), (70, 130, 60), (140, 80, 70)][kind], float)
    if kind == 4:
        row = np.floor(y / 6)
        joint = ((y % 6) < 1) | (((x + 6 * (row % 2)) % 12) < 1)
        shade = np.where(joint, 60.0, -10.0)
    else:
        wave = [(0.02, 0.05), (0.15, 0.2), (0.05, 0.9), (0.9, 0.7)][kind]
        shade = 16 * np.sin(x * wave[0] + 2 * np.sin(y * 0.13)) * np.cos(y * wave[1])
    return base + shade[..., None]


def thing_colour(thing: Thing, u: np.ndarray, radius: float) -> np.ndarray:
    """Striped texture of an object at local coordinate u, (..., 3) in [0, 255]."""
    dark = np.sin(2 * np.pi * u * radius / thing.pitch) > 0.3
    hue = (thing.shape / len(SHAPES) + thing.hue) % 1
    light, deep = (255 * np.array(colorsys.hsv_to_rgb(hue, 0.8, value)) for value in (0.95, 0.55))
    return np.where(dark[..., None], deep, light)


def render(scene: Scene, t: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Renders frame ``t``: uint8 RGB (H, W, 3) with noise from ``rng``, and its id map (H, W) int32."""
    height, width = scene.options.size
    rows, columns = np.mgrid[:height, :width].astype(float)
    x, y = scene.to_world(t, columns, rows)
    image, ids = np.zeros((height, width, 3)), np.zeros((height, width), np.int32)
    for kind, edge, length, phase in reversed(scene.bands):
        mask = y < edge + 5 * np.sin(x / length * 2 * np.pi + phase)
        image[mask], ids[mask] = stuff_colour(kind, x, y)[mask], STUFF_ID + kind
    for number, thing in enumerate(scene.things, 1):
        cx, cy, thing_angle, radius = thing.place(t)
        u = ((x - cx) * np.cos(thing_angle) + (y - cy) * np.sin(thing_angle)) / radius
        v = (-(x - cx) * np.sin(thing_angle) + (y - cy) * np.cos(thing_angle)) / radius
        mask = inside(SHAPES[thing.shape], u, v)
        image[mask], ids[mask] = thing_colour(thing, u, radius)[mask], number
    for left, right in scene.pillars:
        mask = (x >= left) & (x < right)
        image[mask], ids[mask] = stuff_colour(4, x, y)[mask], STUFF_ID + 4
    area = np.bincount(ids.ravel(), minlength=STUFF_ID + len(STUFF))
    ids[(area < scene.options.min_area)[ids]] = VOID_ID
    for _ in range(rng.integers(*scene.options.blots, endpoint=True) if scene.options.blots[1] else 0):
        (top, left), sides = rng.integers((height, width)), rng.integers(*scene.options.blot_size, 2, endpoint=True)
        image[top : top + sides[0], left : left + sides[1]] = rng.uniform(90, 170)
    image += rng.normal(0, scene.options.noise, image.shape)
    return image.clip(0, 255).astype(np.uint8), ids
