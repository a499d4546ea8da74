import numpy as np

from components.core.images import grid


def test_images_stand_row_by_row_and_the_rest_is_black():
    images = np.stack([np.full((1, 2, 3), value, np.float32) for value in (-1, 0, 1)])
    picture = grid(images)
    assert picture.shape == (4, 6)
    assert picture[0, 0] == 0 and picture[0, 3] == 128 and picture[2, 0] == 255 and picture[2, 3] == 0


def test_colour_images_give_a_colour_picture():
    assert grid(np.zeros((5, 3, 4, 4))).shape == (8, 12, 3)
