const fs = require("node:fs"), http = require("node:http"), path = require("node:path");
const claims = [];
const cents = value => Math.round(value * 100) / 100;

function accept({ employee, expenses }) {
  if (typeof employee !== "string" || !employee.trim()) throw new Error("employee: please enter a name");
  if (!Array.isArray(expenses) || !expenses.length) throw new Error("expenses: please enter at least one");
  let total = 0;
  expenses.forEach(({ what, net, vat }, at) => {
    if (typeof what !== "string" || !what.trim() || !(net > 0) || ![0, 7, 19].includes(vat)) {
      throw new Error(`expense ${at + 1}: please enter what it was and an amount above 0`);
    }
    total += cents(net) + cents(net * vat / 100);
  });
  const claim = { number: claims.length + 1, employee: employee.trim(), expenses, total: cents(total) };
  claims.unshift(claim);
  return claim;
}

http.createServer((request, response) => {
  const say = (status, value) => response.writeHead(status, { "Content-Type": "application/json" }).end(JSON.stringify(value));
  if (request.url === "/" && request.method === "GET") {
    response.writeHead(200, { "Content-Type": "text/html; charset=utf-8" }).end(fs.readFileSync(path.join(__dirname, "page.html")));
  } else if (request.url === "/api/claims" && request.method === "GET") say(200, claims);
  else if (request.url === "/api/claims" && request.method === "POST") {
    let body = "";
    request.on("data", data => { body += data; });
    request.on("end", () => {
      try { say(201, accept(JSON.parse(body))); } catch (error) { say(400, { error: error.message }); }
    });
  } else say(404, { error: "no such page" });
}).listen(process.env.PORT || 8000, "127.0.0.1");
