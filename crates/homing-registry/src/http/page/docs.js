"use strict";
// Renders /openapi.json. Text is set as text, never as HTML.
const make = (tag, text, ...children) => {
  const node = document.createElement(tag);
  if (text) node.textContent = text;
  node.append(...children);
  return node;
};
const table = (heads, rows) => {
  const row = (tag, cells) => make("tr", "", ...cells.map((c) => make(tag, c)));
  return make("table", "", row("th", heads), ...rows.map((r) => row("td", r)));
};
const kind = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return kind(schema.items) + "[]";
  return [].concat(schema.type || []).join(" | ") + (schema.format ? ` (${schema.format})` : "");
};
const operation = (path, method, op) => {
  const node = make("details", "");
  node.dataset.words = `${method} ${path} ${op.summary}`.toLowerCase();
  const title = make("summary", "", make("code", `${method.toUpperCase()} ${path}`), ` ${op.summary}`);
  node.append(title);
  if (op.description) node.append(make("p", op.description));
  const parameters = (op.parameters || []).map((p) => [p.name, p.in, kind(p.schema), p.description || ""]);
  if (parameters.length) node.append(table(["parameter", "in", "type", "what"], parameters));
  const body = op.requestBody ? Object.entries(op.requestBody.content) : [];
  if (body.length) node.append(table(["body", "type"], body.map(([m, c]) => [m, kind(c.schema)])));
  const answers = Object.entries(op.responses).map(([status, r]) => {
    const content = Object.entries(r.content || {}).map(([m, c]) => `${m} ${kind(c.schema)}`);
    return [status, r.description, content.join(", ")];
  });
  node.append(table(["status", "when", "body"], answers));
  return node;
};
const show = (doc) => {
  document.title = doc.info.title;
  document.querySelector("h1").textContent = doc.info.title;
  document.getElementById("about").textContent = doc.info.description;
  const main = document.getElementById("operations");
  const sections = new Map();
  for (const [path, methods] of Object.entries(doc.paths)) {
    for (const [method, op] of Object.entries(methods)) {
      const tag = (op.tags || ["other"])[0];
      if (!sections.has(tag)) sections.set(tag, make("section", "", make("h2", tag)));
      sections.get(tag).append(operation(path, method, op));
    }
  }
  main.append(...sections.values(), make("h2", "types"));
  for (const [name, schema] of Object.entries(doc.components.schemas)) {
    const text = make("pre", JSON.stringify(schema, null, 2));
    const node = make("details", "", make("summary", "", make("code", name)), text);
    node.dataset.words = name.toLowerCase();
    main.append(node);
  }
};
document.getElementById("filter").addEventListener("input", (event) => {
  const word = event.target.value.toLowerCase();
  for (const node of document.querySelectorAll("details")) node.hidden = !node.dataset.words.includes(word);
});
fetch("/openapi.json").then((r) => r.json()).then(show, (e) => {
  document.getElementById("about").textContent = `/openapi.json cannot be read: ${e}`;
});
