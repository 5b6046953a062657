// Shows what openapi.json says and sends requests to the server that it came from; nothing else is loaded.
"use strict";

const byId = (id) => document.getElementById(id);

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/// A sentence of the document: what stands between back quotes is code.
function prose(text = "") {
  return text.split("`").map((part, at) => at % 2 ? element("code", { textContent: part }) : part);
}

/// A schema, or the one that it refers to.
function resolved(schema, schemas) {
  return schema?.$ref ? schemas[schema.$ref.split("/").pop()] || {} : schema || {};
}

/// What may be typed for a schema, in a few words.
function hint(schema, schemas) {
  const of = resolved(schema, schemas);
  const words = of.enum || resolved(of.items, schemas).enum || [];
  return words.filter((word) => !/unspecified$/i.test(word)).join(" | ") || of.format || of.type || "";
}

/// An example of a schema's value, as deep as it is readable.
function example(schema, schemas, depth = 0) {
  if (schema.$ref) return example(resolved(schema, schemas), schemas, depth);
  const choice = (schema.allOf || schema.anyOf || schema.oneOf || [])[0];
  if (choice) return example(choice, schemas, depth);
  if (schema.enum) return schema.enum.find((word) => !/unspecified$/i.test(word)) ?? schema.enum[0];
  if (schema.type === "array") return depth > 2 ? [] : [example(schema.items || {}, schemas, depth + 1)];
  if (schema.type === "integer" || schema.type === "number") return 0;
  if (schema.type === "boolean") return false;
  if (schema.type === "string") return schema.format === "date-time" ? "2026-01-01T00:00:00Z" : "";
  if (!schema.properties || depth > 2) return {};
  const members = Object.entries(schema.properties).filter(([, of]) => !of.readOnly);
  return Object.fromEntries(members.map(([name, of]) => [name, example(of, schemas, depth + 1)]));
}

async function send(verb, path, fields, body, output) {
  let target = path;
  const query = new URLSearchParams();
  const headers = {};
  for (const { parameter, input } of fields) {
    if (parameter.in === "path") target = target.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
    else if (input.value === "") continue;
    else if (parameter.in === "header") headers[parameter.name] = input.value;
    else query.append(parameter.name, input.value);
  }
  if ([...query].length) target += `?${query}`;
  if (byId("token").value) headers.Authorization = `Bearer ${byId("token").value}`;
  if (body) headers["Content-Type"] = "application/json";
  output.textContent = "…";
  const leave = new AbortController();
  try {
    const answer = await fetch(target, { method: verb.toUpperCase(), headers, body: body || undefined, signal: leave.signal });
    let text = `${answer.status} ${answer.statusText}\n`;
    for (const name of ["location", "etag", "retry-after", "x-request-id"]) {
      if (answer.headers.get(name)) text += `${name}: ${answer.headers.get(name)}\n`;
    }
    output.textContent = text + "\n";
    const isStream = /ndjson|event-stream/.test(answer.headers.get("content-type") || "");
    if (!isStream) {
      const whole = await answer.text();
      try { output.textContent += JSON.stringify(JSON.parse(whole), null, 2); } catch { output.textContent += whole; }
      return;
    }
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let lines = 0; lines < 200;) {
      const { done, value } = await reader.read();
      if (done) return;
      output.textContent += value;
      lines += value.split("\n").length - 1;
    }
    output.textContent += "… and more";
    leave.abort();
  } catch (error) {
    output.textContent += String(error);
  }
}

function inside(verb, path, operation, schemas) {
  const box = element("div", { className: "inside" }, element("p", {}, ...prose(operation.description)));
  const fields = [];
  if (operation.parameters?.length) {
    const table = element("table");
    for (const parameter of operation.parameters) {
      const input = element("input", { placeholder: hint(parameter.schema, schemas), ariaLabel: parameter.name });
      fields.push({ parameter, input });
      const name = parameter.name + (parameter.required ? " *" : "");
      table.append(element("tr", {}, element("td", { textContent: name }), element("td", {}, input), element("td", {}, ...prose(parameter.description))));
    }
    box.append(element("h3", { textContent: "Parameters" }), table);
  }
  let body = null;
  const content = operation.requestBody?.content?.["application/json"]?.schema;
  if (content) {
    const value = JSON.stringify(example(content, schemas), null, 2);
    body = element("textarea", { value, rows: Math.min(24, value.split("\n").length), ariaLabel: "Body", spellcheck: false });
    box.append(element("h3", { textContent: "Body" }), body);
  }
  const output = element("pre", { hidden: true });
  const button = element("button", { textContent: "Send" });
  button.addEventListener("click", () => {
    output.hidden = false;
    send(verb, path, fields, body?.value, output);
  });
  box.append(button, output);
  const answers = Object.entries(operation.responses).map(([status, of]) => `${status}  ${of.description}`).join("\n");
  box.append(element("h3", { textContent: "Answers" }), element("pre", { textContent: answers }));
  return box;
}

function show(api, wanted) {
  const routes = byId("routes");
  routes.replaceChildren();
  const words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  for (const tag of api.tags || []) {
    const section = element("section");
    for (const [path, item] of Object.entries(api.paths)) {
      for (const [verb, operation] of Object.entries(item)) {
        const text = `${verb} ${path} ${operation.summary} ${operation.operationId}`.toLowerCase();
        if (!operation.tags?.includes(tag.name) || !words.every((word) => text.includes(word))) continue;
        const line = element("summary", {},
          element("span", { className: `verb ${verb}`, textContent: verb }),
          element("code", { textContent: path }),
          element("span", { className: "what" }, ...prose(operation.summary)));
        const route = element("details", {}, line);
        route.addEventListener("toggle", () => {
          if (route.open && route.children.length === 1) route.append(inside(verb, path, operation, api.components.schemas));
        });
        section.append(route);
      }
    }
    if (section.children.length) {
      routes.append(element("h2", { textContent: tag.name }), element("p", {}, ...prose(tag.description)), section);
    }
  }
  if (!routes.children.length) routes.append(element("p", { className: "none", textContent: "No route has all of these words." }));
}

(async () => {
  const api = await (await fetch(byId("openapi").href)).json();
  document.title = `${api.info.title} ${api.info.version}`;
  byId("title").textContent = document.title;
  byId("about").replaceChildren(...prose(api.info.description));
  show(api, "");
  byId("search").addEventListener("input", (event) => show(api, event.target.value));
})();
