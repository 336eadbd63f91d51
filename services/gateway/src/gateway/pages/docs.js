"use strict";
// Lists the operations of openapi.json and lets you try them. No library, no other host.

const byId = (id) => document.getElementById(id);

function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) element.setAttribute(name, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const pretty = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function resolve(document_, value) {
  if (!value || !value.$ref) return value;
  return value.$ref.slice(2).split("/").reduce((at, part) => at[part], document_);
}

function parameterRows(parameters) {
  return parameters.map((parameter) => {
    const input = make("input", { "aria-label": parameter.name, placeholder: parameter.schema.default ?? "" });
    input.dataset.name = parameter.name;
    input.dataset.in = parameter.in;
    const name = make("code", {}, parameter.name);
    return make("tr", {}, make("td", {}, name, ` (${parameter.in})`), make("td", {}, parameter.description || ""), make("td", {}, input));
  });
}

function answerParts(document_, responses) {
  return Object.entries(responses).map(([status, told]) => {
    const answer = resolve(document_, told);
    const content = Object.values(answer.content || {})[0];
    const part = make("div", {}, make("h3", {}, `${status} ${answer.description}`));
    if (status < 300 && content && content.example !== undefined) part.append(make("pre", {}, pretty(content.example)));
    return part;
  });
}

async function attempt(method, path, panel, output) {
  let target = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const input of panel.querySelectorAll("input")) {
    if (!input.value) continue;
    if (input.dataset.in === "path") target = target.replace(`{${input.dataset.name}}`, encodeURIComponent(input.value));
    if (input.dataset.in === "query") query.set(input.dataset.name, input.value);
    if (input.dataset.in === "header") headers[input.dataset.name] = input.value;
  }
  if (query.size) target += `?${query}`;
  if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
  const text = panel.querySelector("textarea");
  const options = { method, headers };
  if (text && text.value) {
    options.body = text.value;
    headers["Content-Type"] = text.dataset.type;
  }
  output.hidden = false;
  output.textContent = "...";
  try {
    const answer = await fetch(target, options);
    const body = await answer.text();
    let shown = body;
    try { shown = pretty(JSON.parse(body)); } catch { /* not JSON: as it is */ }
    output.textContent = `${answer.status} ${answer.headers.get("location") || ""}\n${shown}`;
  } catch (error) {
    output.textContent = String(error);
  }
}

function operationDetails(document_, path, method, operation) {
  const parameters = operation.parameters.map((parameter) => resolve(document_, parameter));
  const panel = make("div", {}, make("p", {}, operation.description));
  if (parameters.length) panel.append(make("table", {}, make("tbody", {}, ...parameterRows(parameters))));
  if (operation.requestBody) {
    const [type, content] = Object.entries(operation.requestBody.content).at(-1);
    const text = make("textarea", { "aria-label": "Body", spellcheck: "false" });
    text.value = pretty(Object.values(content.examples)[0].value);
    text.dataset.type = type;
    panel.append(make("h3", {}, `Body (${type})`), text);
  }
  if (path !== "/v1/stream") {
    const output = make("pre", { hidden: "" });
    const button = make("button", { type: "button" }, "Try");
    button.addEventListener("click", () => attempt(method.toUpperCase(), path, panel, output));
    panel.append(make("p", {}, button), output);
  }
  panel.append(...answerParts(document_, operation.responses));
  const details = make(
    "details", { id: operation.operationId },
    make("summary", {}, make("span", { class: `method ${method}` }, method.toUpperCase()), make("span", { class: "path" }, path), make("span", { class: "what" }, operation.summary)),
    panel,
  );
  details.dataset.text = `${method} ${path} ${operation.summary} ${operation.tags}`.toLowerCase();
  return details;
}

async function start() {
  const document_ = await (await fetch("/openapi.json")).json();
  byId("version").textContent = document_.info.version;
  byId("about").textContent = `${document_.info.summary} ${document_.info.description}`;
  const sections = document_.tags.map(({ name }) => {
    const section = make("section", {}, make("h2", {}, name));
    for (const [path, methods] of Object.entries(document_.paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        if (operation.tags.includes(name)) section.append(operationDetails(document_, path, method, operation));
      }
    }
    return section;
  });
  byId("operations").replaceChildren(...sections);
  byId("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const section of sections) {
      const all = [...section.querySelectorAll("details")];
      for (const each of all) each.hidden = !each.dataset.text.includes(wanted);
      section.hidden = all.every((each) => each.hidden);
    }
  });
}

start().catch((error) => { byId("operations").textContent = `openapi.json can't be read: ${error}`; });
