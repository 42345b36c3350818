// Elements of the page. Text becomes text here and nothing else: whatever a name holds, it is read.

export function byId(id) {
  return document.getElementById(id);
}

/** An element with a class, holding texts and elements; empty ones are left out. */
export function made(name, className, ...content) {
  const element = document.createElement(name);
  if (className) element.className = className;
  element.append(...content.filter(Boolean));
  return element;
}

/** Text that may be in any script, in the direction of its first letter. */
export function inAnyScript(name, className, content) {
  const element = made(name, className, content);
  element.dir = "auto";
  return element;
}
