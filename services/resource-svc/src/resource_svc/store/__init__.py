"""All SQL of resource-svc: the work of one batch, and what the HTTP door reads."""

from resource_svc.store.records import Dispatch, Holder
from resource_svc.store.wanted import Touch, Wanted
from resource_svc.store.work import Cache, Work

__all__ = ["Cache", "Dispatch", "Holder", "Touch", "Wanted", "Work"]
