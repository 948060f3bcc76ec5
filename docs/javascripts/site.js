// Let the keyboard scroll a table that is wider than the page. Material for MkDocs adds the element around it.
document$.subscribe(() => setTimeout(() => {
  for (const table of document.querySelectorAll(".md-typeset__scrollwrap"))
    if (table.scrollWidth > table.clientWidth) table.tabIndex = 0
}))
