// Renders /openapi.json and sends requests from it. Loads nothing from other hosts, and builds the page from elements only,
// so that no text in the document can become markup.
"use strict";

const find = (id) => document.getElementById(id);

function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function table(head, rows) {
  const cells = (kind, row) => element("tr", {}, ...row.map((cell) => element(kind, {}, cell)));
  return element("table", {}, element("thead", {}, cells("th", head)),
    element("tbody", {}, ...rows.map((row) => cells("td", row))));
}

/// A text with code in backticks.
function prose(text) {
  return text.split("`").map((part, n) => (n % 2 ? element("code", {}, part) : part));
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/// A readable name for a schema.
function nameOf(schema) {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const choices = schema.oneOf || schema.anyOf;
  if (choices) return choices.map(nameOf).filter((name) => name !== "null").join(" | ");
  if (schema.type === "array") return nameOf(schema.items) + "[]";
  const types = [].concat(schema.type || "any").filter((type) => type !== "null");
  const limits = ["minimum", "maximum"].filter((key) => key in schema).map((key) => `${key} ${schema[key]}`);
  return [types.join(" | "), schema.format, ...limits].filter(Boolean).join(", ");
}

/// The fields of a schema, with nested types expanded.
function fieldsOf(schema, schemas, depth, seen) {
  if (!schema || depth > 4) return [];
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return seen.includes(name) ? [] : fieldsOf(schemas[name], schemas, depth, [...seen, name]);
  }
  if (schema.items) return fieldsOf(schema.items, schemas, depth, seen);
  const parts = schema.allOf || schema.oneOf || schema.anyOf;
  const inherited = parts ? parts.flatMap((part) => fieldsOf(part, schemas, depth, seen)) : [];
  const own = Object.entries(schema.properties || {}).flatMap(([name, field]) => [
    { depth, name, type: nameOf(field), optional: !(schema.required || []).includes(name), text: field.description || "" },
    ...fieldsOf(field, schemas, depth + 1, seen),
  ]);
  return [...inherited, ...own];
}

function fieldTable(schema, schemas) {
  const rows = fieldsOf(schema, schemas, 0, []).map((field) => [
    element("code", {}, "\u00a0\u00a0".repeat(field.depth) + field.name + (field.optional ? "?" : "")),
    element("code", {}, field.type), field.text,
  ]);
  return rows.length ? table(["Field", "Type", ""], rows) : "";
}

/// The parameters, each with an input field.
function inputs(parameters) {
  const fields = parameters.map((parameter) => {
    const example = parameter.in === "path" ? parameter.example ?? parameter.schema?.example ?? "" : "";
    const input = element("input", { value: example, "aria-label": parameter.name });
    const usual = parameter.schema?.default;
    if (parameter.schema?.example ?? parameter.example) input.placeholder = String(parameter.schema?.example ?? parameter.example);
    const type = nameOf(parameter.schema) + (usual === undefined ? "" : `, default ${usual}`);
    const row = [element("code", {}, parameter.name + (parameter.required ? "" : "?")), parameter.in, element("code", {}, type), parameter.description || "", input];
    return { parameter, input, row };
  });
  const shown = fields.length ? table(["Parameter", "In", "Type", "", "Value"], fields.map((field) => field.row)) : "";
  return { fields, shown };
}

/// The URL with its parameters filled in, and the headers.
function address(path, fields) {
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of fields) {
    if (input.value === "") continue;
    if (parameter.in === "path") path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (parameter.in === "query") query.set(parameter.name, input.value);
    else if (parameter.in === "header") headers[parameter.name] = input.value;
  }
  const text = query.toString();
  return { url: path + (text ? "?" + text : ""), headers };
}

function quoted(text) {
  return "'" + text.replaceAll("'", "'\\''") + "'";
}

function curl(method, url, headers, body) {
  const words = ["curl"];
  if (method !== "GET") words.push("-X", method);
  for (const [name, value] of Object.entries(headers)) words.push("-H", quoted(`${name}: ${value}`));
  if (body) words.push("-d", quoted(body));
  return [...words, quoted(location.origin + url)].join(" ");
}

/// Shows the response; event streams as they arrive.
async function show(response, output, stop) {
  const kind = response.headers.get("content-type") || "";
  const status = `${response.status} ${response.statusText}\n\n`;
  if (!kind.startsWith("text/event-stream")) {
    const text = await response.text();
    output.textContent = status + (kind.startsWith("application/json") ? pretty(JSON.parse(text)) : text);
    return;
  }
  output.textContent = status;
  stop.hidden = false;
  const decoder = new TextDecoder();
  const reader = response.body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    output.textContent = (output.textContent + decoder.decode(value, { stream: true })).slice(-100000);
  }
}

function tryIt(method, path, fields, operation) {
  const media = operation.requestBody?.content?.["application/json"];
  const body = media ? element("textarea", { rows: 10, spellcheck: "false", "aria-label": "Body" }) : null;
  if (body) body.value = pretty(media.example ?? {});
  const command = element("pre", {});
  const output = element("pre", { hidden: "" });
  const send = element("button", { type: "button" }, "Send");
  const stop = element("button", { type: "button", hidden: "" }, "Stop");
  const request = () => {
    const { url, headers } = address(path, fields);
    if (body) headers["Content-Type"] = "application/json";
    return { url, headers, text: body ? body.value : undefined };
  };
  const refresh = () => {
    const { url, headers, text } = request();
    command.textContent = curl(method, url, headers, text);
  };
  for (const input of [...fields.map((field) => field.input), body].filter(Boolean)) input.addEventListener("input", refresh);
  refresh();
  send.addEventListener("click", async () => {
    const { url, headers, text } = request();
    const abort = new AbortController();
    stop.onclick = () => abort.abort();
    send.disabled = true;
    output.hidden = false;
    output.textContent = "…";
    try {
      await show(await fetch(url, { method, headers: { ...headers, "X-Kubefwd": "1" }, body: text, signal: abort.signal }), output, stop);
    } catch (error) {
      if (error.name !== "AbortError") output.textContent = String(error);
    } finally {
      send.disabled = false;
      stop.hidden = true;
    }
  });
  return [body || "", command, element("p", {}, send, " ", stop), output];
}

function answers(responses, schemas) {
  return Object.entries(responses).map(([status, response]) => {
    const contents = Object.entries(response.content || {}).flatMap(([kind, media]) => [
      element("p", {}, element("code", {}, kind), " ", element("code", {}, nameOf(media.schema))),
      fieldTable(media.schema, schemas),
      element("pre", {}, pretty(media.example ?? "")),
    ]);
    return element("details", {}, element("summary", {}, element("code", {}, status), " ", response.description || ""),
      element("div", { class: "body" }, ...contents));
  });
}

function operationOf(path, method, operation, schemas) {
  const upper = method.toUpperCase();
  const summary = element("summary", {}, element("span", { class: `method ${method}` }, upper),
    element("span", { class: "path" }, path), element("span", { class: "title" }, operation.summary || ""));
  const shown = element("details", { id: operation.operationId }, summary);
  // Built when opened: the page has many of them.
  shown.addEventListener("toggle", () => {
    if (!shown.open || shown.childElementCount > 1) return;
    const { fields, shown: parameters } = inputs(operation.parameters || []);
    const media = operation.requestBody?.content?.["application/json"];
    shown.append(element("div", { class: "body" },
      element("p", {}, ...prose(operation.description || "")), parameters,
      ...(media ? [element("h4", {}, "Body"), fieldTable(media.schema, schemas)] : []),
      ...tryIt(upper, path, fields, operation),
      element("h4", {}, "Responses"), ...answers(operation.responses || {}, schemas)));
  });
  return shown;
}

async function start() {
  const response = await fetch("/openapi.json");
  const api = await response.json();
  const schemas = api.components?.schemas || {};
  find("version").textContent = api.info.version;
  find("description").append(...prose(api.info.description || ""));
  const operations = Object.entries(api.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })));
  const contents = element("ul", {});
  const all = [];
  for (const tag of api.tags || []) {
    const own = operations.filter(({ operation }) => (operation.tags || []).includes(tag.name));
    if (own.length === 0) continue;
    const id = "tag-" + tag.name.replace(/[^A-Za-z]+/g, "-");
    contents.append(element("li", {}, element("a", { href: "#" + id }, tag.name)));
    const shown = own.map(({ path, method, operation }) => {
      const made = operationOf(path, method, operation, schemas);
      all.push({ made, text: `${method} ${path} ${operation.summary} ${operation.description}`.toLowerCase() });
      return made;
    });
    find("operations").append(element("h2", { id }, tag.name), element("p", {}, tag.description || ""), ...shown);
  }
  find("contents").append(contents);
  find("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const { made, text } of all) made.hidden = !text.includes(wanted);
  });
  const linked = location.hash && find(location.hash.slice(1));
  if (linked) {
    linked.open = true;
    linked.scrollIntoView();
  }
}

start().catch((error) => find("operations").append(element("p", {}, "Cannot show the API description: " + error)));
