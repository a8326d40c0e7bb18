"""HTML as a tree: text goes in as text and comes out escaped, so a file's name can never become markup."""

from xml.etree.ElementTree import Element, tostring

from sidecar.terminal.words import printable

Child = Element | str | None


def element(tag: str, *children: Child, **attributes: str | float | None) -> Element:
    """An element. `class_` and `aria_label` name `class` and `aria-label`; None leaves an attribute out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), printable(str(value)))
    return add(made, *children)


def add(parent: Element, *children: Child) -> Element:
    """Puts children at the end of an element, and returns that."""
    for child in children:
        if isinstance(child, Element):
            parent.append(child)
        elif child and len(parent):
            parent[-1].tail = (parent[-1].tail or "") + printable(child)
        elif child:
            parent.text = (parent.text or "") + printable(child)
    return parent


def style_sheet(css: str) -> Element:
    """A `style` element. Its text is not escaped: for our own constants only."""
    made = Element("style")
    made.text = css
    return made


def document(root: Element) -> str:
    """The page as text."""
    return f"<!DOCTYPE html>\n{tostring(root, encoding='unicode', method='html')}\n"
