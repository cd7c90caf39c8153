"""What is there now: exact while it is little, and estimated without counting when it is much."""

from collections.abc import Callable

import pytest
from django.utils import timezone

from ovauth.flows import measures
from ovauth.models import Client
from tests.conftest import begun, registered

pytestmark = pytest.mark.django_db


def many(number: int) -> None:
    now = timezone.now()
    Client.objects.bulk_create(Client(client_id=f"c{n}", name="x" * (n % 3 == 0), created_at=now) for n in range(number))


def test_few_rows_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measures.about(Client.objects.all()) == 0
    many(100)
    assert measures.about(Client.objects.all()) == 100
    assert measures.about(Client.objects.filter(name="x")) == 34


def test_many_rows_are_estimated_and_few_of_them_visited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "EXACT", 400)
    many(3000)
    assert measures.about(Client.objects.all()) == 3000
    assert measures.about(Client.objects.filter(name="x")) == pytest.approx(1000, rel=0.1)
    gap = Client.objects.order_by("pk").values_list("pk", flat=True)[1000:2000]
    Client.objects.filter(pk__in=list(gap)).delete()
    assert measures.about(Client.objects.all()) == pytest.approx(2000, rel=0.15)


def test_they_are_read_at_most_twice_a_minute(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Callable[..., object]
) -> None:
    monkeypatch.setattr(measures, "_last", None)
    begun(registered())
    first = measures.read()
    assert {name: value for name, labels, value in first if not labels}["ovauth_pending"] == 1
    with django_assert_num_queries(0):  # type: ignore[attr-defined]
        assert measures.read() == first
