"""Which rules are for an event, found by its type.

The order of rules is total: `order`, then the name, which is unique within a tenant.
"""

from collections.abc import Iterable

from rules_svc.domain.model import Event, Rule


class RuleIndex:
    """Rules by tenant and event type; immutable but for what it remembers of earlier questions."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self._exact: dict[tuple[str, str], list[Rule]] = {}
        self._prefixes: dict[str, list[Rule]] = {}
        for rule in rules:
            if rule.prefix:
                self._prefixes.setdefault(rule.tenant, []).append(rule)
            else:
                self._exact.setdefault((rule.tenant, rule.type), []).append(rule)
        self._found: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def for_type(self, tenant: str, type: str) -> tuple[Rule, ...]:
        """The rules for events of this type, in order."""
        key = (tenant, type)
        found = self._found.get(key)
        if found is None:
            prefixed = (rule for rule in self._prefixes.get(tenant, ()) if type.startswith(rule.type))
            found = tuple(sorted((*self._exact.get(key, ()), *prefixed), key=lambda rule: (rule.order, rule.name)))
            if len(self._found) > 10_000:
                self._found.clear()
            self._found[key] = found
        return found


def applies(rule: Rule, event: Event) -> bool:
    """Whether the rule is for this very event, by what can be told without its condition."""
    return (
        rule.tenant == event.tenant
        and (event.type.startswith(rule.type) if rule.prefix else event.type == rule.type)
        and (rule.source is None or rule.source == event.source)
        and (rule.entity_type is None or rule.entity_type == event.entity_type)
    )
