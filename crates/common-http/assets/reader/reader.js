"use strict";
// Draws the contract. Everything of the document becomes text nodes, never markup.

let contract;
const at = (id) => document.getElementById(id);

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== false) node.setAttribute(key, value);
  }
  node.append(...children.flat(9).filter((child) => child !== undefined && child !== null && child !== ""));
  return node;
}

const resolve = (node) =>
  node?.$ref
    ? resolve(node.$ref.slice(2).split("/").reduce((in_, key) => in_?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], contract))
    : node;
const nameOf = (ref) => ref.split("/").pop();

// The little of Markdown that the contract uses: paragraphs, lists, code, bold and links.
function inline(text) {
  return text.split(/(`[^`]+`|\*\*[^*]+\*\*|\[[^\]]+\]\([^)\s]+\))/).map((part) => {
    if (/^`.+`$/.test(part)) return el("code", {}, part.slice(1, -1));
    if (/^\*\*.+\*\*$/.test(part)) return el("strong", {}, part.slice(2, -2));
    const link = /^\[(.+)\]\(((?:https?:|[#/]).*)\)$/.exec(part);
    return link ? el("a", { href: link[2], rel: "noreferrer" }, link[1]) : part;
  });
}
function prose(text) {
  return (text ?? "").trim().split(/\n\s*\n/).filter(Boolean).map((block) => {
    if (!/^\s*- /.test(block)) return el("p", {}, inline(block.replaceAll("\n", " ")));
    const items = block.trim().slice(2).split(/\n\s*- /);
    return el("ul", {}, items.map((item) => el("li", {}, inline(item.replaceAll("\n", " ")))));
  });
}

function typeName(schema) {
  if (schema.$ref) return nameOf(schema.$ref);
  if ("const" in schema) return JSON.stringify(schema.const);
  const choice = schema.oneOf ?? schema.anyOf;
  if (choice) return choice.map(typeName).join(" or ");
  if (schema.allOf) return schema.allOf.map(typeName).join(" and ");
  const types = [schema.type ?? (schema.enum ? [] : "any")].flat();
  return types.map((type) => (type === "array" ? `array of ${typeName(schema.items ?? {})}` : type)).join(" or ");
}
function limits(schema) {
  const texts = [];
  const say = (key, text) => schema[key] !== undefined && texts.push(text + JSON.stringify(schema[key]).replace(/^"|"$/g, ""));
  say("format", ""); say("minimum", "≥ "); say("maximum", "≤ "); say("exclusiveMinimum", "> ");
  say("minLength", "at least characters: "); say("maxLength", "at most characters: ");
  say("minItems", "at least items: "); say("maxItems", "at most items: ");
  say("pattern", "matches "); say("default", "default "); say("example", "e.g. ");
  if (schema.enum) texts.push("one of " + schema.enum.map((value) => JSON.stringify(value)).join(", "));
  return texts.join(" · ");
}
// What is worth unfolding below a schema, made only when somebody opens it: schemas may contain themselves.
function inside(schema) {
  if (schema.$ref) return later(nameOf(schema.$ref), () => [prose(resolve(schema).description), members(resolve(schema))]);
  const parts = schema.oneOf ?? schema.anyOf ?? schema.allOf;
  if (parts) return parts.map(inside);
  if (schema.properties) return members(schema);
  if (schema.items) return inside(schema.items);
  return typeof schema.additionalProperties === "object" ? inside(schema.additionalProperties) : [];
}
function later(title, make) {
  const node = el("details", {}, el("summary", {}, title));
  node.addEventListener("toggle", () => node.children.length > 1 || node.append(el("div", {}, make())));
  return node;
}
function row(name, must, schema, text) {
  return el("li", {},
    name && el("code", {}, name), " ", el("span", { class: "soft" }, typeName(schema)), " ",
    must && el("span", { class: "must" }, "required"),
    el("div", { class: "note" }, limits(schema)), prose(text ?? schema.description), inside(schema));
}
function members(schema) {
  if (!schema.properties) return [el("p", { class: "note" }, typeName(schema), " ", limits(schema)), inside(schema)];
  const must = new Set(schema.required);
  return el("ul", { class: "rows" }, Object.entries(schema.properties).map(([name, one]) => row(name, must.has(name), one)));
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const exampleOf = (media) => media?.example ?? resolve(Object.values(media?.examples ?? {})[0])?.value;
function content(of) {
  return Object.entries(of.content ?? {}).map(([type, media]) => {
    const schema = media.schema ?? {};
    const examples = media.examples ? Object.entries(media.examples) : media.example !== undefined ? [["", media]] : [];
    return [
      el("p", {}, el("code", {}, type), " ", el("span", { class: "soft" }, typeName(schema))),
      schema.properties ? members(schema) : inside(schema),
      examples.map(([name, one]) => {
        one = resolve(one);
        return [el("p", { class: "note" }, one.summary ?? (name ? name : "Example")), el("pre", {}, el("code", {}, pretty(one.value ?? one.example)))];
      }),
    ];
  });
}

const ACCESS = {
  public: "Anybody; no token.", optional: "Anybody; a token is read when there is one.", user: "Any signed-in person.",
  supervisor: "Supervisors and admins.", admin: "Admins only.", service: "Our own services only.",
  userOrService: "Any signed-in person for themselves, or one of our services.",
  supervisorOrService: "Supervisors, admins, or one of our services.",
};

function curl(path, method, op, parameters) {
  const quote = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
  const value = (one) => one.example ?? one.schema?.example ?? one.schema?.default ?? `<${one.name}>`;
  for (const one of parameters.filter((one) => one.in === "path")) path = path.replace(`{${one.name}}`, encodeURIComponent(value(one)));
  const query = parameters.filter((one) => one.in === "query" && one.required).map((one) => `${one.name}=${encodeURIComponent(value(one))}`);
  const base = location.origin + location.pathname.replace(/\/docs$/, "");
  const body = exampleOf(op.requestBody?.content?.["application/json"]);
  return [
    `curl ${method === "get" ? "" : `-X ${method.toUpperCase()} `}${quote(base + path + (query.length ? `?${query.join("&")}` : ""))}`,
    !["public", "optional"].includes(op["x-access"]) && `-H "Authorization: Bearer $TOKEN"`,
    body !== undefined && `-H 'Content-Type: application/json'`,
    body !== undefined && `-d ${quote(JSON.stringify(body))}`,
  ].filter(Boolean).join(" \\\n  ");
}
function copyable(text) {
  const code = el("code", {}, text);
  const button = el("button", { type: "button", class: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
      button.textContent = "Selected";
    }
  });
  return [el("pre", {}, code), button];
}

function operation(path, method, op, shared, aliases) {
  const parameters = [...(shared ?? []), ...(op.parameters ?? [])].map(resolve);
  const part = (title, ...children) => (children.flat(9).length ? [el("h3", {}, title), children] : []);
  const draw = () => [
    prose(op.description),
    part("Who may call", el("p", {}, ACCESS[op["x-access"]] ?? op["x-access"])),
    part("Also at", aliases.map((alias) => el("p", {}, el("code", {}, alias)))),
    part("Parameters", parameters.length ? el("ul", { class: "rows" }, parameters.map((one) =>
      row(`${one.name} (${one.in})`, one.required, { ...one.schema, example: one.example ?? one.schema?.example }, one.description))) : []),
    op.requestBody ? part(`Body${resolve(op.requestBody).required ? "" : " (optional)"}`, prose(resolve(op.requestBody).description), content(resolve(op.requestBody))) : [],
    part("Answers", Object.entries(op.responses ?? {}).map(([status, answer]) => {
      answer = resolve(answer);
      const head = [el("b", {}, status), inline(answer.description ?? ""), " ", (answer["x-codes"] ?? []).map((code) => el("span", { class: "tag" }, code))];
      const headers = Object.entries(answer.headers ?? {}).map(([name, one]) => row(name, false, resolve(one).schema ?? {}, resolve(one).description));
      if (!answer.content && !headers.length) return el("div", { class: "answer" }, head);
      return el("details", { class: "answer" }, el("summary", {}, head), headers.length ? el("ul", { class: "rows" }, headers) : "", content(answer));
    })),
    part("Try it", copyable(curl(path, method, op, parameters))),
  ];
  const node = el("details", { class: `op${op.deprecated ? " old" : ""}`, id: op.operationId },
    el("summary", {},
      el("span", { class: `method ${method}` }, method.toUpperCase()), el("code", {}, path), " ",
      el("span", { class: "tag" }, op["x-access"]), op.deprecated && el("span", { class: "tag" }, "deprecated"),
      el("span", { class: "what" }, op.summary)));
  node.addEventListener("toggle", () => node.children.length > 1 || node.append(el("div", {}, draw())));
  node.words = [method, path, aliases, op.summary, op.description, op["x-access"], op.tags].flat().join(" ").toLowerCase();
  return node;
}

function draw() {
  const { info, tags = [], paths, components = {} } = contract;
  document.title = at("brand").textContent = info.title;
  const same = {};
  for (const [path, item] of Object.entries(paths)) {
    if (item.$ref) (same[nameOf(item.$ref).replaceAll("~1", "/")] ??= []).push(path);
  }
  const byTag = new Map(tags.map((tag) => [tag.name, []]));
  for (const [path, item] of Object.entries(paths)) {
    if (item.$ref) continue;
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      const op = item[method];
      const tag = op?.tags?.[0] ?? "Other";
      if (op && !byTag.has(tag)) byTag.set(tag, []);
      if (op) byTag.get(tag).push(operation(path, method, op, item.parameters, same[path] ?? []));
    }
  }
  const main = at("content");
  main.replaceChildren(el("h1", {}, info.title), el("p", { class: "soft" }, `Version ${info.version} · `, el("a", { href: "openapi.json" }, "openapi.json")), ...prose(info.description), el("p", { id: "state", role: "status", class: "soft" }));
  const index = (title, links) => el("div", {}, el("b", {}, title), el("ul", {}, links));
  for (const [tag, ops] of byTag) {
    main.append(el("section", {}, el("h2", {}, tag), prose(tags.find((one) => one.name === tag)?.description), ops));
    at("index").append(index(tag, ops.map((op) => (op.link = el("li", {}, el("a", { href: `#${op.id}` }, op.querySelector(".what").textContent))))));
  }
  const schemas = Object.entries(components.schemas ?? {}).map(([name, schema]) =>
    el("details", { class: "schema", id: `schema-${name}` }, el("summary", {}, el("code", {}, name)), el("div", {}, prose(schema.description), members(schema))));
  main.append(el("section", {}, el("h2", {}, "Schemas"), schemas));

  const all = [...byTag.values()].flat();
  const find = () => {
    const words = at("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const op of all) op.hidden = op.link.hidden = !words.every((word) => op.words.includes(word));
    const left = all.filter((op) => !op.hidden).length;
    at("state").textContent = words.length ? `${left} of ${all.length} operations` : "";
    for (const part of document.querySelectorAll("section, #index > div")) {
      part.hidden = words.length > 0 && !part.querySelector(".op:not([hidden]), li:not([hidden])");
    }
  };
  at("find").addEventListener("input", find);
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
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then((read) => { contract = read; draw(); })
  .catch((error) => { at("state").textContent = `The contract could not be shown: ${error.message}`; });
