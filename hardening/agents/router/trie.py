"""Which patterns match a name, of many patterns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from hardening.agents.router.pattern import ANY_WORD, ANY_WORDS

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

__all__ = ["Trie"]

T = TypeVar("T", bound="Hashable")


class _Node(Generic[T]):
    """One word of patterns: what may follow, and whose pattern ends here."""

    __slots__ = ("items", "next", "stays")

    def __init__(self, *, stays: bool = False) -> None:
        self.next: dict[str, _Node[T]] = {}
        self.items: set[T] = set()
        #: Whether any further word leads here again.
        self.stays = stays


class Trie(Generic[T]):
    """Patterns as a tree of words, through which a name is led along all fitting ways at once.

    That takes as many steps as the name has words, each over the nodes reached so far, however many patterns there
    are and whatever they are. Not for several threads.
    """

    def __init__(self) -> None:
        self._root: _Node[T] = _Node()

    def add(self, pattern: Sequence[str], item: T) -> None:
        """Has a pattern, given by its words, lead to something. Idempotent."""
        node = self._root
        for word in pattern:
            if word not in node.next:
                node.next[word] = _Node(stays=word == ANY_WORDS)
            node = node.next[word]
        node.items.add(item)

    def discard(self, pattern: Sequence[str], item: T) -> None:
        """Undoes that, and leaves nothing behind. Idempotent."""
        path = [self._root]
        for word in pattern:
            if word not in path[-1].next:
                return
            path.append(path[-1].next[word])
        path[-1].items.discard(item)
        for above, word in zip(reversed(path[:-1]), reversed(pattern), strict=True):
            if above.next[word].items or above.next[word].next:
                return
            del above.next[word]

    def match(self, name: Sequence[str]) -> set[T]:
        """What the patterns lead to that match a name, given by its words."""
        reached = _and_none({self._root})
        for word in name:
            found = {node for node in reached if node.stays}
            for node in reached:
                found.update(node.next[way] for way in (word, ANY_WORD) if way in node.next)
            reached = _and_none(found)
            if not reached:
                break
        return {item for node in reached for item in node.items}


def _and_none(nodes: Iterable[_Node[T]]) -> set[_Node[T]]:
    """The nodes, and those that are reached from them without a word."""
    reached, found = set(nodes), list(nodes)
    while found:
        further = found.pop().next.get(ANY_WORDS)
        if further is not None and further not in reached:
            reached.add(further)
            found.append(further)
    return reached
