import { connect } from "./ropewalk.min.js";

// One connection for all that happens here: who logs in, and out, does not connect anew. The token stays in this tab, so
// that loading the page again is no log-out.
const rope = connect("/", { store: "session" });
const at = (id) => document.getElementById(id);

/** Runs what a button does, and shows what goes wrong. */
function on(id, event, action) {
  at(id).addEventListener(event, async (e) => {
    e.preventDefault();
    for (const place of ["problem", "done", "notes"]) at(place).replaceChildren();
    const button = e.submitter ?? e.currentTarget;
    button.closest(".card").append(at("problem")); // an error is shown where it came from
    button.disabled = true;
    try {
      await action();
    } catch (error) {
      const wait = error.retryAfter ? ` Try again in ${Math.ceil(error.retryAfter / 1000)} s.` : "";
      at("problem").textContent = [error.message, error.hint].filter(Boolean).join(". ") + wait;
    } finally {
      button.disabled = false;
    }
  });
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
on("logout", "click", () => rope.closeSession());
on("everywhere", "click", () => rope.closeSession({ everywhere: true }));
on("read", "click", async () => at("notes").replaceChildren(...(await rope.call("notes:/read")).map((text) => item(text))));

function item(...what) {
  const li = document.createElement("li");
  li.append(...what);
  return li;
}

const clock = (time) => new Date(time).toLocaleTimeString();

/** Shows who is here, and by which connection. */
function show() {
  const { session } = rope;
  const { name, role } = session?.public ?? {};
  const somebody = Boolean(session?.subject);
  at("who").textContent = somebody ? `You are ${name}${role ? `, ${role}` : ""}.` : "You are not logged in.";
  at("until").textContent = somebody && session.expires ? `Until ${clock(session.expires)}, if nothing happens.` : "";
  at("login").hidden = somebody;
  at("account").hidden = !somebody;
  at("promote").hidden = role === "editor";
  at("line").dataset.state = rope.state;
  at("line").textContent = rope.state === "connected" ? `Connected to ${rope.node.name} as ${rope.id}` : rope.state;
}

/** Says in words what became of the session. */
function words({ kind, session, reason, error }) {
  if (kind === "changed") return session?.subject ? `${at("who").textContent} Session ${session.id.slice(0, 8)}` : "You are nobody.";
  if (kind === "ending") return `Your session ends soon${error ? ` (${error.message})` : ""}.`;
  return `${kind === "revoked" ? "Somebody ended your session" : "Your session is over"}${reason ? `: ${reason}` : ""}.`;
}

rope.onSession((event) => {
  show();
  if (event.kind !== "changed" && event.kind !== "ending") at("notes").replaceChildren();
  const line = item(Object.assign(document.createElement("time"), { textContent: clock(Date.now()) }), words(event));
  line.dataset.kind = event.kind;
  at("events").prepend(line);
});
rope.on("state", show);
show();
