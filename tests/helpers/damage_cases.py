"""Common kinds of damage to datasets, each with the error message that it must cause."""

import shutil

import numpy as np
from PIL import Image

from .damage import JSON, TRACKS, edit, first_frame

IMAGE, MASK = 'images/0_train/00000015.jpg', 'panomasksRGB/0_train/00000015.png'
YTVIS, CITY = 'youtube_vis_2021_360p', 'cityscapes_vps'
LINES = {}


def line(kind, expected):
    """Register a function that damages a dataset, and the error message that it must cause."""

    def keep(damage):
        LINES[f'{kind}: {damage.__name__}'] = kind, damage, expected
        return damage

    return keep


def paint(path, old, new):
    """Paint a square of the image at ``path`` with the value ``new``."""
    pixels = np.asarray(Image.open(path)).copy()
    pixels[5:8, 5:8] = new
    Image.fromarray(pixels).save(path)


# images ---------------------------------------------------------------------
@line('vipseg', rf'{IMAGE} cannot be read as an image: there is no such file')
def missing_image(root):
    (root / IMAGE).unlink()


@line('vipseg', rf'{MASK} cannot be read as an image: there is no such file')
def missing_mask(root):
    (root / MASK).unlink()


@line('vipseg', rf'{IMAGE} cannot be read as an image: it is empty \(0 bytes\)')
def zero_byte_image(root):
    (root / IMAGE).write_bytes(b'')


@line('vipseg', rf'{IMAGE} cannot be read as an image \(.*\); is it cut off')
def truncated_image(root):
    data = (root / IMAGE).read_bytes()
    (root / IMAGE).write_bytes(data[: len(data) // 2])


@line('vipseg', rf'{MASK} cannot be read as an image \(.*\); is it cut off')
def truncated_mask(root):
    data = (root / MASK).read_bytes()
    (root / MASK).write_bytes(data[: len(data) // 2])


@line('vipseg', rf'{IMAGE} cannot be read as an image \(cannot identify')
def text_for_an_image(root):
    (root / IMAGE).write_text('<html>404 Not Found</html>')


@line('vipseg', rf'{MASK} is a JPEG file; a mask must be PNG, because other formats may change the values')
def jpeg_for_a_mask(root):
    Image.open(root / MASK).save(root / MASK, format='JPEG')


@line('vipseg', rf'{MASK} is an image of mode L; it must be RGB')
def grey_mask(root):
    Image.open(root / MASK).convert('L').save(root / MASK)


@line('vipseg', r'0_train, frame 00000015.png: .*00000015.jpg is \(40, 56\) .* its mask .* is \(30, 56\); both must')
def mask_of_another_size(root):
    Image.open(root / MASK).crop((0, 0, 56, 30)).save(root / MASK)


@line('vipseg', r'0_train, frame 00000015.png: .*00000015.jpg is \(20, 28\) .* but \(40, 56\) in .*train.json')
def frames_of_different_size(root):
    for path in (root / IMAGE, root / MASK):
        Image.open(path).resize((28, 20), 0).save(path)


@line(
    'vspw_720p',
    r'video 0_train, frame 00000020.png: .*00000020.jpg is \(20, 28\) .* other frames of the video are \(40, 56\)',
)
def frames_of_different_size_without_a_json(root):
    for part in ('origin/00000020.jpg', 'mask/00000020.png'):
        path = root / 'data/0_train' / part
        Image.open(path).resize((28, 20), 0).save(path)


@line('vipseg', rf'{IMAGE} cannot be read as an image: it is a broken symbolic link to .*nowhere.jpg')
def link_to_nothing(root):
    (root / IMAGE).unlink()
    (root / IMAGE).symlink_to(root / 'nowhere.jpg')


@line('vipseg', rf'{IMAGE} cannot be read as an image: it is a folder')
def folder_for_an_image(root):
    (root / IMAGE).unlink()
    (root / IMAGE).mkdir()


# ids ------------------------------------------------------------------------
@line(
    'vipseg',
    rf'{MASK}: video 0_train, frame 00000015.png: the PNG has the id 131844, which .* does not list for this frame',
)
def id_in_the_png_but_not_in_the_json(root):
    paint(root / MASK, None, (4, 3, 2))


@line('vipseg', r'0_train, frame 00000010.png: .* lists the id 77 \(category 60\), but the PNG has no pixel of it')
def id_in_the_json_but_not_in_the_png(root):
    edit(root / JSON, lambda c: first_frame(c).append(dict(id=77, category_id=60, iscrowd=0)))


@line(
    'vipseg', r'0_train, frame 00000010.png: the PNG has the id \d+, which .* lists only for other frames of the video'
)
def id_listed_for_other_frames_only(root):
    edit(root / JSON, lambda c: first_frame(c).pop(0) and None)


@line(
    'vipseg', rf'{JSON}, .*0_train, frame 00000010.png, segment \d+: the category 500 is not in the list of categories'
)
def unknown_category(root):
    edit(root / JSON, lambda c: first_frame(c)[0].update(category_id=500))


@line('vipseg', rf'{JSON}, .*0_train, frame 00000010.png, segment \d+: the id \d+ occurs more than once')
def duplicate_segment_ids(root):
    edit(root / JSON, lambda c: first_frame(c).append(dict(first_frame(c)[0])))


@line('vipseg', rf"{JSON}, .*0_train, frame 00000010.png, segment \d+: 'id' must be an integer, got '\d+' \(a string\)")
def ids_as_text(root):
    edit(root / JSON, lambda c: first_frame(c)[0].update(id=str(first_frame(c)[0]['id'])))


@line('vipseg', rf'{JSON}, .*segment 0: a segment id must lie between 1 and')
def id_zero(root):
    edit(root / JSON, lambda c: first_frame(c)[0].update(id=0))


@line(
    'vspw_720p',
    r'0_train, frame 00000015.png: the mask has the value 130; allowed are 1 to 124 \(classes\) and 0, 255 \(void\)',
)
def value_out_of_range(root):
    path = root / 'data/0_train/mask/00000015.png'
    pixels = np.asarray(Image.open(path)).copy()
    pixels[0, 9] = 130
    Image.fromarray(pixels).save(path)


@line(CITY, r'0001_0002_city_000001_000009.*: video 0, frame .*: the mask has the value 31004; allowed are')
def instance_value_of_no_class(root):
    path = root / 'train/panoptic_inst/0001_0002_city_000001_000009_final_mask.png'
    pixels = np.asarray(Image.open(path)).astype(np.uint16)
    pixels[0, 0] = 31004
    Image.fromarray(pixels).save(path)


# json -----------------------------------------------------------------------
@line('vipseg', rf'{JSON} is not valid JSON \(.*\); is it cut off')
def truncated_json(root):
    text = (root / JSON).read_text()
    (root / JSON).write_text(text[: len(text) // 2])


@line('vipseg', rf'{JSON} must be an object with keys, got list')
def list_for_the_root(root):
    (root / JSON).write_text('[1, 2]')


@line('vipseg', rf"{JSON} lacks 'categories'; it has annotations, videos")
def missing_key(root):
    edit(root / JSON, lambda c: c.pop('categories') and None)


@line('vipseg', rf"{JSON}, video 0_train, frame 00000010.png lacks 'id'")
def missing_key_of_a_frame(root):
    edit(root / JSON, lambda c: c['videos'][0]['images'][0].pop('id') and None)


@line('vipseg', rf"{JSON}: 'videos' must be a list, got object")
def object_for_a_list(root):
    edit(root / JSON, lambda c: c.update(videos={}))


@line('vipseg', r'there is no file .*panoptic_gt_VIPSeg_train.json; see data/README.md for where to download it')
def no_json(root):
    (root / JSON).unlink()


@line('vipseg', r'panoptic_gt_VIPSeg_train.json is a link to .*gone.json, which does not exist')
def json_is_a_link_to_nothing(root):
    (root / JSON).unlink()
    (root / JSON).symlink_to(root / 'gone.json')


@line('vipseg', rf'{JSON}, video 0_train has no frames; remove it from the list or download its frames')
def empty_video(root):
    def change(content):
        content['videos'][0]['images'] = []
        content['annotations'][0]['annotations'] = []

    edit(root / JSON, change)


@line(
    'vipseg',
    rf'{JSON}, video 0_train: the frame 00000015.png comes after 00000020.png; frames must be in temporal order',
)
def frame_order_broken(root):
    edit(root / JSON, lambda c: c['videos'][0]['images'].insert(1, c['videos'][0]['images'].pop(2)))


@line('vipseg', rf'{JSON}, video 0_train: the frame 00000010.png occurs twice')
def frame_twice(root):
    edit(root / JSON, lambda c: c['videos'][0]['images'].insert(1, c['videos'][0]['images'][0]))


@line('vipseg', rf'{JSON}: the video 0_train occurs more than once')
def video_twice(root):
    edit(root / JSON, lambda c: c['videos'].append(c['videos'][0]))


@line('vipseg', rf'{JSON}, video 0_train has 7 images and 6 annotations; one annotation per image is required')
def an_annotation_is_missing(root):
    edit(root / JSON, lambda c: c['annotations'][0]['annotations'].pop() and None)


@line('vipseg', rf'{JSON}, annotations of video 0_train, frame 00000010.png: the video has no image 999')
def annotation_of_another_image(root):
    edit(root / JSON, lambda c: c['annotations'][0]['annotations'][0].update(image_id='999'))


@line('vipseg', rf"{JSON}: the video 7_train has annotations, but is missing from 'videos'")
def annotations_of_another_video(root):
    edit(root / JSON, lambda c: c['annotations'][0].update(video_id='7_train'))


@line('vipseg', rf'{JSON} has 58 thing and 65 other categories with the ids .*; VIPSeg has 58 and 66')
def category_missing_from_the_list(root):
    edit(root / JSON, lambda c: c['categories'].pop(0) and None)


@line(
    'vipseg',
    rf"{JSON} has 'cat' as category 60, which is 'person' in VIPSeg \('cat' is 61 there\), so labels would change",
)
def categories_in_another_order(root):
    def change(content):
        a, b = content['categories'][60], content['categories'][61]
        a['name'], b['name'] = b['name'], a['name']

    edit(root / JSON, change)


@line('vipseg', rf'{JSON}: the category id 3 occurs more than once')
def category_twice(root):
    edit(root / JSON, lambda c: c['categories'].append(c['categories'][3]))


# tracks ---------------------------------------------------------------------
def mask_of(content, t=0, track=0):
    return content['annotations'][track]['segmentations'][t]


@line(YTVIS, rf'{TRACKS}, track 1, frame v1/00000.jpg: the mask is \[50, 56\] \(.*\), but the frame is \[40, 56\]')
def plain_mask_of_another_size(root):
    edit(root / TRACKS, lambda c: mask_of(c).update(size=[50, 56]))


@line(YTVIS, rf'{TRACKS}, track 2, frame v1/00000.jpg: the mask is \[56, 40\] \(.*\), but the frame is \[40, 56\]')
def compressed_mask_turned(root):
    edit(root / TRACKS, lambda c: mask_of(c, track=1).update(size=[56, 40]))


@line(YTVIS, r'video 1, frame v1/00000.jpg, track 1: the run lengths of the mask cover 2340 pixels, but the frame')
def plain_runs_too_long(root):
    edit(root / TRACKS, lambda c: mask_of(c)['counts'].append(100))


@line(YTVIS, r'video 1, frame v1/00000.jpg, track 2: the run lengths of the mask cover \d+ pixels, but the frame has')
def compressed_runs_too_short(root):
    edit(root / TRACKS, lambda c: mask_of(c, track=1).update(counts='PPYo0'))


@line(
    YTVIS, r'video 1, frame v1/00000.jpg, track 2: the run lengths of the mask cannot be read: the string is malformed'
)
def compressed_runs_cut_off(root):
    edit(root / TRACKS, lambda c: mask_of(c, track=1).update(counts='PPY' + 'o'))


@line(YTVIS, rf"{TRACKS}, track 1, frame v1/00000.jpg: a mask must be null, or have 'size' and 'counts'")
def mask_without_runs(root):
    edit(root / TRACKS, lambda c: mask_of(c).pop('counts') and None)


@line(YTVIS, rf'{TRACKS}, track 1 has 6 segmentations, but the video has 7 frames')
def track_too_short(root):
    edit(root / TRACKS, lambda c: c['annotations'][0]['segmentations'].pop() and None)


@line(YTVIS, rf'{TRACKS}: the track id 1 occurs more than once')
def track_ids_twice(root):
    edit(root / TRACKS, lambda c: c['annotations'][1].update(id=1))


@line(YTVIS, rf"{TRACKS}, track 1 belongs to the video 9, which is missing from 'videos'")
def track_of_another_video(root):
    edit(root / TRACKS, lambda c: c['annotations'][0].update(video_id=9))


@line(YTVIS, rf"{TRACKS}, track 1: 'category_id' must be an integer, got '2' \(a string\)")
def category_as_text(root):
    edit(root / TRACKS, lambda c: c['annotations'][0].update(category_id='2'))


@line(YTVIS, rf'{TRACKS}, track 1: the category 41 is not in the list of categories')
def category_of_no_class(root):
    edit(root / TRACKS, lambda c: c['annotations'][0].update(category_id=41))


@line(YTVIS, rf'{TRACKS}, video 1 has the length 8 and 7 file names; both must be equal')
def length_and_names_differ(root):
    edit(root / TRACKS, lambda c: c['videos'][0].update(length=8))


# lists and folders ----------------------------------------------------------
@line('vspw_720p', r'train.txt lists the video 9_train, but there is no folder .*data/9_train')
def video_without_a_folder(root):
    (root / 'train.txt').write_text('9_train\n')


@line('vspw_720p', r'train.txt lists no video; it must have one video name per line')
def empty_list(root):
    (root / 'train.txt').write_text('\n')


@line('vspw_720p', r'train.txt: the video 0_train occurs more than once')
def video_listed_twice(root):
    (root / 'train.txt').write_text('0_train\n0_train')


@line('vspw_720p', r'video 0_train, frame 00000015: .*origin has an image, but there is no mask .*00000015.png; 1 of 7')
def mask_file_missing(root):
    (root / 'data/0_train/mask/00000015.png').unlink()


@line('vspw_720p', r'video 0_train, frame 00000015: .*mask has a mask, but .*origin has no image')
def image_file_missing(root):
    (root / 'data/0_train/origin/00000015.jpg').unlink()


@line('vspw_720p', r'video 0_train: .*origin has no frames')
def folder_without_frames(root):
    for path in (root / 'data/0_train/origin').iterdir():
        path.unlink()


@line('vspw_720p', r'the folder .*0_train/origin cannot be read \(Not a directory\)')
def file_for_a_folder(root):
    shutil.rmtree(root / 'data/0_train/origin')
    (root / 'data/0_train/origin').write_text('')
