// The script of all pages. Every page works without it: then times are in the zone of the machine, and the reader reloads.
"use strict"

const body = document.body
const connection = document.getElementById("connection")

// Times are in the zone of the reader. The server reads it from this cookie.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone
let reloading = false
if (zone && zone !== body.dataset.zone && !document.cookie.includes(`zone=${zone}`)) {
  document.cookie = `zone=${zone}; path=${body.dataset.base}; SameSite=Strict`
  reloading = document.cookie.includes(`zone=${zone}`)
  if (reloading) location.reload()
}

function say(text) {
  if (connection.textContent !== text) connection.textContent = text
  connection.hidden = !text
}

const liveIds = page => [...page.querySelectorAll("[data-live]")].map(each => each.id).join()

const OWN_ATTRIBUTES = ["open", "data-sent"] // the reader or this script sets them

// Make an element like another one, and change only what differs. So the focus and the selected text stay, and a screen
// reader reads a message again only if it has changed.
function match(old, now) {
  if (old.isEqualNode(now)) return
  if (old.nodeName !== now.nodeName || old.id !== now.id) { old.replaceWith(document.adoptNode(now)); return }
  if (old.nodeType !== Node.ELEMENT_NODE) { old.data = now.data; return }
  for (const { name } of [...old.attributes]) {
    if (!now.hasAttribute(name) && !OWN_ATTRIBUTES.includes(name)) old.removeAttribute(name)
  }
  for (const { name, value } of now.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value)
  const [before, after] = [[...old.childNodes], [...now.childNodes]]
  before.slice(after.length).forEach(each => each.remove())
  after.forEach((each, n) => before[n] ? match(before[n], each) : old.append(document.adoptNode(each)))
}

// Update each part of the page that the server marks as live.
function update(fresh) {
  document.title = fresh.title
  if (liveIds(fresh) !== liveIds(document)) {
    document.getElementById("main").replaceWith(document.adoptNode(fresh.getElementById("main")))
    return
  }
  for (const old of document.querySelectorAll("[data-live]")) {
    const focused = old.contains(document.activeElement) ? document.activeElement.id : ""
    match(old, fresh.getElementById(old.id))
    if (focused && document.activeElement.id !== focused) document.getElementById(focused)?.focus({ preventScroll: true })
  }
}

// A button that is pressed stays as it is until it is released: otherwise the click could be lost, or be that of another.
let pressed = false
addEventListener("pointerdown", () => { pressed = true })
for (const end of ["pointerup", "pointercancel"]) {
  addEventListener(end, () => setTimeout(() => { pressed = false; if (again) refresh() }))
}

let loading = false
let again = false
async function refresh() {
  if (loading || pressed) { again = true; return }
  again = false
  loading = true
  try {
    const response = await fetch(body.dataset.page ?? location.href, { headers: { Accept: "text/html" } })
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html")
    const page = response.headers.get("Content-Type")?.startsWith("text/html")
    if (!page) say("This page is not valid any more. Start the program again, and open its new address.")
    else if (response.status >= 500) say(fresh.querySelector(".notice:not([hidden])")?.textContent ?? "The page cannot be updated.")
    else if (pressed) again = true
    else { say(""); update(fresh) }
  } catch {
    // The stream of changes reports a server that does not answer.
  } finally {
    loading = false
    if (again && !pressed) refresh()
  }
}

// Only a page that is visible has a stream of changes: browsers have at most six connections to a server, for all tabs.
let changes = null
function listen() {
  if (document.hidden) { changes?.close(); changes = null; return }
  if (changes) return
  let revision = null
  changes = new EventSource(body.dataset.changes)
  changes.onmessage = message => {
    say("")
    if (revision !== null && revision !== message.data) refresh()
    revision = message.data
  }
  changes.onerror = () => say("The page does not get changes any more: its program was stopped. Start it again.")
  // The page may have changed between its request and the first message.
  changes.addEventListener("open", refresh, { once: true })
}
if (body.dataset.changes && !reloading) {
  listen()
  setInterval(() => document.hidden || refresh(), 60_000)
  document.addEventListener("visibilitychange", listen)
}

// One click is one request. The server also refuses the second one.
document.addEventListener("submit", event => {
  if (event.target.dataset.once === undefined) return
  if (event.target.dataset.sent) { event.preventDefault(); return }
  event.target.dataset.sent = "yes"
})
// A page from the cache of the browser accepts its form again.
addEventListener("pageshow", () => document.querySelectorAll("[data-sent]").forEach(each => delete each.dataset.sent))

document.addEventListener("click", async event => {
  const button = event.target.closest("[data-copy]")
  if (!button) return
  const source = document.querySelector(button.dataset.copy)
  await navigator.clipboard.writeText(source.value ?? source.textContent)
  const text = button.textContent
  button.textContent = "Copied"
  setTimeout(() => { button.textContent = text }, 2000)
})

// A filter applies as soon as it changes.
document.addEventListener("change", event => {
  if (event.target.form?.dataset.filter !== undefined && event.target.matches("select")) event.target.form.requestSubmit()
})
