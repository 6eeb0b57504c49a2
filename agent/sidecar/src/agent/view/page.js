"use strict";
// The page is made by the agent; this keeps it fresh and passes on what is clicked.
const ask = (method, path, headers = {}) =>
  fetch(path, { method, headers: { "X-Pillion-Request": "page", ...headers }, cache: "no-store" });

const tell = (text) => { document.querySelector("#told").textContent = text; };

for (const button of document.querySelectorAll("button[data-path]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    try {
      const answer = await ask(button.dataset.method, button.dataset.path);
      if (answer.ok) return location.reload();
      tell((await answer.json()).detail);
    } catch {
      tell("The agent does not answer.");
    }
    button.disabled = false;
  });
}

const login = document.querySelector("#login");
login?.addEventListener("submit", async (event) => {
  event.preventDefault();
  try {
    const answer = await ask("POST", "/v1/session", { Authorization: `Bearer ${login.token.value}` });
    if (answer.ok) return location.reload();
    tell((await answer.json()).detail);
  } catch {
    tell("The agent does not answer.");
  }
});

// What changes the page's form makes it anew; the rest is a number that moves.
const look = async () => {
  const page = document.querySelector("main[data-form]");
  if (!page) return;
  try {
    const answer = await ask("GET", "/v1/status");
    if (answer.status === 401) return location.reload();
    const status = await answer.json();
    tell("");
    if (status.form !== page.dataset.form) return location.reload();
    const bar = document.querySelector("progress");
    if (bar && status.running) {
      const { filesDone, bytesDone, bytesTotal, errors } = status.running.progress;
      if (bytesTotal > 0) { bar.max = bytesTotal; bar.value = Math.min(bytesDone, bytesTotal); }
      const text = `${filesDone} files, ${(bytesDone / 1048576).toFixed(1)} MiB, ${errors} errors`;
      document.querySelector("#done").textContent = text;
    }
  } catch {
    tell("The agent does not answer: this page is as it was last seen.");
  }
};
setInterval(look, 2000);
