import pytest

from zafu.units import Bytes, Count, Seconds


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Bytes(3), "3 B"),
        (Bytes(1234567), "1.23 MB"),
        (Bytes(999_999), "1 MB"),
        (Count(999), "999"),
        (Count(2_561_234), "2.56 M"),
        (Seconds(0.00213), "2.13 ms"),
        (Seconds(12.34), "12.3 s"),
        (Seconds(125.2), "2 min 05 s"),
        (Seconds(59.7), "1 min 00 s"),
        (Seconds(3700), "1 h 01 min"),
    ],
)
def test_quantities_print_as_a_person_reads_them(value: object, text: str) -> None:
    assert str(value) == text
    assert f"{value}" == text
