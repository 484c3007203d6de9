import { connect } from "./ropewalk.min.js";

// One connection for all that happens here: who logs in, and out, does not connect anew.
const rope = connect();
const at = (id) => document.getElementById(id);

/** Runs what a button does, and shows what goes wrong. */
function on(id, event, action) {
  at(id).addEventListener(event, async (e) => {
    e.preventDefault();
    at("problem").textContent = "";
    at("done").textContent = "";
    at("notes").replaceChildren();
    try {
      await action();
    } catch (error) {
      const wait = error.retryAfter ? ` Try again in ${Math.ceil(error.retryAfter / 1000)} s.` : "";
      at("problem").textContent = [error.message, error.hint].filter(Boolean).join(". ") + wait;
    }
    await show();
  });
}

/** Shows who is here. */
async function show() {
  const me = await rope.call("login:/me");
  const role = me.claims?.role ? `, ${me.claims.role}` : "";
  at("who").textContent = me.authenticated ? `You are ${me.claims.name}${role}.` : "You are not logged in.";
  at("login").hidden = me.authenticated;
  at("account").hidden = !me.authenticated;
}

on("login", "submit", async () => {
  const password = at("password").value;
  at("password").value = "";
  await rope.call("login:/password", { user: at("user").value, password });
});

on("with-passkey", "click", async () => {
  const { publicKey } = await rope.call("login:/passkey/begin");
  const credential = await navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(publicKey) });
  await rope.call("login:/passkey/finish", { credential: credential.toJSON() });
});

on("add-passkey", "click", async () => {
  const { publicKey } = await rope.call("login:/passkey/register/begin");
  const credential = await navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(publicKey) });
  await rope.call("login:/passkey/register/finish", { credential: credential.toJSON(), label: navigator.platform });
  at("done").textContent = "You can log in with this passkey from now on.";
});

on("promote", "click", () => rope.call("notes:/promote"));
on("logout", "click", () => rope.call("login:/logout"));
on("everywhere", "click", () => rope.call("login:/logout", { everywhere: true }));

on("read", "click", async () => {
  const items = (await rope.call("notes:/read")).map((text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  at("notes").replaceChildren(...items);
});

await show();
// Somebody may end this session elsewhere.
setInterval(() => void show().catch(() => {}), 1000);
