"""Work that is put off: in what order it is done, and what becomes of an array that nobody sees."""

import numpy as np

from nkisim.machine.values import COPY, SPENT, Blank, Room, Value, catch_up, keep


def test_work_is_done_in_the_order_in_which_it_was_put_off():
    total = Value(np.zeros(2))
    doubled = Value()
    queue = [
        (np.add, SPENT, total, Value(3.0), total),
        (np.multiply, doubled, total, Value(2.0)),
        (np.add, SPENT, total, Value(1.0), total),
    ]
    catch_up(queue)
    assert not queue
    assert doubled.array.tolist() == [6, 6]
    assert total.array.tolist() == [4, 4]


def test_what_fails_leaves_the_work_behind_it_to_be_done():
    def fails(array):
        raise MemoryError

    later = Value()
    queue = [(fails, Value(), Value(1)), (np.negative, later, Value(5))]
    try:
        catch_up(queue)
    except MemoryError:
        pass
    else:
        raise AssertionError("nothing was raised")
    catch_up(queue)
    assert later.array == -5


def test_a_copy_of_an_array_that_nobody_sees_is_that_array():
    out, source = Value(), Value(np.arange(4.0))
    array = id(source.array)
    queue = [(COPY, out, source)]
    del source
    catch_up(queue)
    assert id(out.array) == array


def test_a_copy_of_an_array_that_somebody_sees_is_another():
    out, source, part = Value(), Value(np.arange(4.0)), Value()
    catch_up([(COPY, out, source)])
    assert not np.shares_memory(out.array, source.array)

    whole = Value(np.arange(4.0))
    again = Value()
    view = part.array = whole.array[1:]
    queue = [(COPY, again, whole)]
    del whole
    catch_up(queue)
    assert not np.shares_memory(again.array, view)


def test_a_copy_of_a_part_that_nobody_sees_does_not_keep_the_whole():
    out, whole = Value(), np.arange(4.0)
    queue = [(COPY, out, Value(whole[:2]))]
    del whole
    catch_up(queue)
    assert out.array.base is None


def test_a_blank_is_zeros_each_time_anew():
    blank = Blank((2, 3), np.dtype(np.float32))
    first = blank.zeros()
    first += 1
    assert blank.zeros().sum() == 0 and first.shape == (2, 3) and first.dtype == np.float32


def test_arrays_that_are_kept_in_a_room_stay_what_they_were():
    room, values = Room(), np.zeros((3, 2), np.float32)
    kept = []
    for i in range(100):
        values[...] = i
        kept.append(keep(values, room))
    assert all((array == i).all() and array.shape == (3, 2) for i, array in enumerate(kept))


def test_a_large_array_has_a_room_of_its_own():
    room, values = Room(), np.ones(1 << 20, np.float32)
    first, second = keep(values, room), keep(values, room)
    assert first.base.nbytes == second.base.nbytes == values.nbytes
    assert not np.shares_memory(first, second)


def test_numbers_without_axes_are_kept_too():
    room = Room()
    assert [float(keep(np.float32(i), room)) for i in range(10)] == list(range(10))
