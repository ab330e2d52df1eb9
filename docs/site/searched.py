"""Search: what a reader needs comes first, and numbers can be searched.

1006 and 502 are what a reader knows of a fault; Sphinx leaves numbers out, and sorts what is left by the alphabet.
"""

from __future__ import annotations

from sphinx.application import Sphinx
from sphinx.search.en import SearchEnglish


class Search(SearchEnglish):
    """English, and numbers of three digits or more. The script of the splitter is run after searchtools.js."""

    js_splitter_code = r"""
{
  const parse = Search._parseQuery;
  Search._parseQuery = (query) => {
    const parsed = parse(query);
    const [, searched, , shown] = parsed;
    for (const number of query.match(/\b\d{3,}\b/g) || []) [searched, shown].forEach((terms) => terms.add(number));
    return parsed;
  };
  const order = [[/^docs\/(tutorials|how-to)\//, 3], [/\/symptoms$/, 1], [/^(docs\/decisions\/|CHANGELOG$)/, -10]];
  Scorer.score = ([page, , , , score]) =>
    order.reduce((sum, [pages, more]) => sum + (pages.test(page) ? more : 0), score);
}
"""

    def word_filter(self, word: str) -> bool:
        """Return whether the word is in the index."""
        return (len(word) > 2 and word.isdigit()) or super().word_filter(word)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_search_language(Search)
    return {"parallel_read_safe": True}
