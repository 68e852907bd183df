"use strict";
// Draws the contract. Whatever the document says becomes text nodes, never markup.

let contract;
const at = (id) => document.getElementById(id);
const METHODS = ["get", "post", "put", "patch", "delete"];
const ACCESS = {
  public: "Anybody; no token.",
  optional: "Anybody; a token is read when there is one.",
  user: "Any signed-in person.",
  supervisor: "Supervisors and admins.",
  admin: "Admins only.",
  service: "Our own services only.",
  userOrService: "Any signed-in person for themselves, or one of our services.",
  supervisorOrService: "Supervisors, admins, or one of our services.",
};

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.flat(9).filter((child) => child));
  return node;
}
const soft = (...text) => el("span", { class: "soft" }, text);
const tag = (text) => el("span", { class: "tag" }, text);

/** Details whose content is made when they are first opened: schemas may contain themselves. */
function later(attributes, head, make) {
  const node = el("details", attributes, el("summary", {}, head));
  node.addEventListener("toggle", () => node.children.length > 1 || node.append(el("div", {}, make())));
  return node;
}

const unescape = (key) => key.replaceAll("~1", "/").replaceAll("~0", "~");
const lastOf = (ref) => unescape(ref.split("/").pop());
function resolve(node) {
  if (!node?.$ref) return node ?? {};
  return resolve(node.$ref.slice(2).split("/").reduce((inside, key) => inside?.[unescape(key)], contract));
}

/** The Markdown that the contract uses: paragraphs, lists, code, bold, links. */
function prose(text = "") {
  const inline = (line) => line.replaceAll("\n", " ").split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)]+\))/).map((part) => {
    if (part.startsWith("`")) return el("code", {}, part.slice(1, -1));
    if (part.startsWith("**")) return el("strong", {}, part.slice(2, -2));
    const link = /^\[(.+)\]\(((?:https?:|[#/]).*)\)$/.exec(part);
    return link ? el("a", { href: link[2] }, link[1]) : part;
  });
  return text.trim().split(/\n\s*\n/).map((block) =>
    block.startsWith("- ")
      ? el("ul", {}, block.slice(2).split(/\n- /).map((item) => el("li", {}, inline(item))))
      : block && el("p", {}, inline(block)));
}

function typeOf(schema) {
  if (schema.$ref) return lastOf(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const parts = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (parts) return parts.map(typeOf).join(schema.allOf ? " and " : " or ");
  const name = (type) => (type === "array" ? `array of ${typeOf(schema.items ?? {})}` : type);
  return [schema.type ?? "anything"].flat().map(name).join(" or ");
}
function limitsOf(schema) {
  const names = { format: "", minimum: "≥ ", maximum: "≤ ", minLength: "characters ≥ ", maxLength: "characters ≤ ", minItems: "items ≥ ", maxItems: "items ≤ ", pattern: "matches ", default: "default ", example: "e.g. " };
  const said = Object.entries(names).filter(([key]) => key in schema);
  return said.map(([key, text]) => text + (key === "default" ? JSON.stringify(schema[key]) : schema[key])).join(" · ");
}
function inside(schema) {
  if (schema.$ref) return later({}, lastOf(schema.$ref), () => whole(schema));
  const extra = typeof schema.additionalProperties === "object" ? [schema.additionalProperties] : [];
  const parts = schema.oneOf ?? schema.anyOf ?? schema.allOf ?? (schema.items ? [schema.items] : extra);
  return [schema.properties && members(schema), parts.map(inside)];
}
function whole(schema) {
  const target = resolve(schema);
  const note = !target.properties && el("p", { class: "note" }, typeOf(target), " ", limitsOf(target));
  return [prose(target.description), note, inside(target)];
}
function row(name, must, schema, text = schema.description) {
  return el("li", {},
    el("code", {}, name), " ", soft(typeOf(schema)), " ", must && el("span", { class: "must" }, "required"),
    el("div", { class: "note" }, limitsOf(schema)), prose(text), inside(schema));
}
const rows = (list) => list.length > 0 && el("ul", { class: "rows" }, list);
const members = ({ properties, required = [] }) =>
  rows(Object.entries(properties).map(([name, schema]) => row(name, required.includes(name), schema)));

function content(body) {
  return Object.entries(body.content ?? {}).map(([type, media]) => {
    const { schema = {}, example } = media;
    const examples = Object.values(media.examples ?? (example === undefined ? {} : { it: { value: example } })).map(resolve);
    return [
      el("p", {}, el("code", {}, type), " ", soft(typeOf(schema))),
      type.includes("problem") ? inside(schema) : whole(schema),
      examples.map(({ summary = "Example", value }) => [
        el("p", { class: "note" }, summary),
        el("pre", {}, el("code", {}, typeof value === "string" ? value : JSON.stringify(value, null, 2))),
      ]),
    ];
  });
}

function curlOf(path, method, op, parameters) {
  const quote = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  for (const one of parameters.filter((one) => one.in === "path")) {
    path = path.replace(`{${one.name}}`, encodeURIComponent(one.example ?? one.name));
  }
  const media = resolve(op.requestBody).content?.["application/json"] ?? {};
  const body = media.example ?? resolve(Object.values(media.examples ?? {})[0]).value;
  const command = [`curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${quote(new URL(`.${path}`, location.href).href)}`];
  if (op["x-access"] !== "public") command.push('-H "Authorization: Bearer $TOKEN"');
  if (body) command.push("-H 'Content-Type: application/json'", `-d ${quote(JSON.stringify(body))}`);
  return command.join(" \\\n  ");
}
function copyable(text) {
  const code = el("code", {}, text);
  const button = el("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    getSelection().selectAllChildren(code);
    await navigator.clipboard?.writeText(text);
    button.textContent = "Copied";
  });
  return [el("pre", {}, code), button];
}

function answer(status, response) {
  const { description, headers = {}, content: media, "x-codes": codes = [] } = resolve(response);
  const head = [el("b", {}, status), prose(description), codes.map(tag)];
  if (!media) return el("div", { class: "answer" }, head);
  const named = Object.entries(headers).map(([name, one]) => row(name, false, resolve(one).schema, resolve(one).description));
  return later({ class: "answer" }, head, () => [rows(named), content({ content: media })]);
}
function operation(path, method, op, shared = [], aliases = []) {
  const parameters = [...shared, ...(op.parameters ?? [])].map(resolve);
  const body = resolve(op.requestBody);
  const part = (title, ...made) => made.flat(9).some(Boolean) && [el("h3", {}, title), made];
  const head = [
    el("span", { class: `method ${method}` }, method.toUpperCase()), el("code", {}, path), " ",
    tag(op["x-access"]), op.deprecated && tag("deprecated"), el("span", { class: "what" }, op.summary),
  ];
  const node = later({ class: "op", id: op.operationId }, head, () => [
    prose(op.description),
    part("Who may call", el("p", {}, ACCESS[op["x-access"]])),
    part("Also at", aliases.map((alias) => el("p", {}, el("code", {}, alias)))),
    part("Parameters", rows(parameters.map((one) =>
      row(one.name, one.required, { ...one.schema, ...(one.example && { example: one.example }) }, `In the ${one.in}. ${one.description ?? ""}`)))),
    part(body.required ? "Body" : "Body, optional", prose(body.description), content(body)),
    part("Answers", Object.entries(op.responses).map(([status, response]) => answer(status, response))),
    part("Try it", copyable(curlOf(path, method, op, parameters))),
  ]);
  node.words = [method, path, aliases, op.summary, op.description, op["x-access"], op.tags].flat().join(" ").toLowerCase();
  return node;
}

function draw() {
  const { info, tags = [], paths, components = {} } = contract;
  document.title = at("brand").textContent = info.title;
  const aliases = {};
  for (const [path, item] of Object.entries(paths)) if (item.$ref) (aliases[lastOf(item.$ref)] ??= []).push(path);
  const all = [];
  const groups = Object.fromEntries(tags.map(({ name }) => [name, []]));
  for (const [path, item] of Object.entries(paths).filter(([, item]) => !item.$ref)) {
    for (const method of METHODS.filter((method) => item[method])) {
      const node = operation(path, method, item[method], item.parameters, aliases[path]);
      node.link = el("li", {}, el("a", { href: `#${node.id}` }, item[method].summary));
      (groups[item[method].tags[0]] ??= []).push(node);
      all.push(node);
    }
  }
  const found = el("p", { role: "status", class: "soft" });
  at("content").replaceChildren(
    el("h1", {}, info.title), el("p", {}, soft(`Version ${info.version} · `), el("a", { href: "openapi.json" }, "openapi.json")),
    ...prose(info.description), found);
  for (const [name, ops] of Object.entries(groups)) {
    at("content").append(el("section", {}, el("h2", {}, name), prose(tags.find((one) => one.name === name)?.description), ops));
    at("index").append(el("div", {}, el("b", {}, name), el("ul", {}, ops.map((op) => op.link))));
  }
  at("content").append(el("section", {}, el("h2", {}, "Schemas"), Object.entries(components.schemas ?? {}).map(([name, schema]) =>
    later({ class: "op", id: `schema-${name}` }, el("code", {}, name), () => whole(schema)))));

  at("find").addEventListener("input", () => {
    const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const op of all) op.hidden = op.link.hidden = !words.every((word) => op.words.includes(word));
    found.textContent = words.length ? `${all.filter((op) => !op.hidden).length} of ${all.length} operations` : "";
    for (const part of document.querySelectorAll("section, #index > div")) {
      part.hidden = words.length > 0 && !part.querySelector("details[id]:not([hidden]):not([id^=schema]), li:not([hidden]) > a[href^='#']");
    }
  });
  const go = () => {
    const target = at(decodeURIComponent(location.hash.slice(1)));
    if (target?.tagName !== "DETAILS") return;
    target.open = true;
    target.firstChild.focus();
    target.scrollIntoView();
  };
  addEventListener("hashchange", go);
  at("contents").open = matchMedia("(min-width: 60rem)").matches;
  go();
}

fetch("openapi.json")
  .then((response) => (response.ok ? response.json() : Promise.reject(new Error(`status ${response.status}`))))
  .then((read) => { contract = read; draw(); })
  .catch((error) => { at("content").append(el("p", { role: "alert" }, `The contract could not be shown: ${error.message}`)); });
