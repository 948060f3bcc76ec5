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

// Replace each part of the page that the server marks as live, if it has changed. The focus and open details stay.
function update(fresh) {
  document.title = fresh.title
  if (liveIds(fresh) !== liveIds(document)) {
    document.getElementById("main").replaceWith(document.adoptNode(fresh.getElementById("main")))
    return
  }
  for (const old of document.querySelectorAll("[data-live]")) {
    const now = fresh.getElementById(old.id)
    const text = now.outerHTML.replaceAll(FORM_TIME, "")
    if (text === seen.get(old.id)) { renewTimes(old, now); continue }
    const selection = getSelection()
    if (!selection.isCollapsed && old.contains(selection.anchorNode)) continue
    seen.set(old.id, text)
    const focused = old.contains(document.activeElement) ? document.activeElement.id : ""
    const open = [...old.querySelectorAll("details[open][id]")].map(each => each.id)
    old.replaceWith(document.adoptNode(now))
    for (const id of open) document.getElementById(id)?.setAttribute("open", "")
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true })
  }
}
const seen = new Map() // the text of each live part, as the server sent it last
const FORM_TIME = /(?<=name="time" value=")[^"]*/g // differs each time, and is not a change for the reader

// A form stays valid for an hour after its time.
function renewTimes(old, now) {
  const times = now.querySelectorAll("input[name=time]")
  old.querySelectorAll("input[name=time]").forEach((input, n) => { if (times[n]) input.value = times[n].value })
}

// A button that is pressed is not replaced before it is released: the click would be lost.
let pressed = false
addEventListener("pointerdown", () => { pressed = true })
for (const end of ["pointerup", "pointercancel"]) {
  addEventListener(end, () => setTimeout(() => { pressed = false; if (again) { again = false; refresh() } }))
}

let loading = false
let again = false
async function refresh() {
  if (loading || pressed) { again = true; return }
  loading = true
  try {
    const response = await fetch(body.dataset.page ?? location.href, { headers: { Accept: "text/html" } })
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html")
    if (response.status === 403) say("This page is not valid any more. Start the program again, and open its new address.")
    else if (response.status >= 500) say(fresh.querySelector(".notice:not([hidden])")?.textContent ?? "The page cannot be updated.")
    else if (pressed) again = true
    else { say(""); update(fresh) }
  } catch {
    // The stream of changes reports a server that does not answer.
  } finally {
    loading = false
    if (again && !pressed) { again = false; refresh() }
  }
}

if (body.dataset.changes && !reloading) {
  const changes = new EventSource(body.dataset.changes)
  let revision = null
  changes.onmessage = message => {
    say("")
    if (revision !== null && revision !== message.data) refresh()
    revision = message.data
  }
  changes.onerror = () => say("The page does not get changes any more: its program was stopped. Start it again.")
  // The page may have changed between its request and the first message.
  changes.addEventListener("open", refresh, { once: true })
  setInterval(() => document.hidden || refresh(), 60_000)
  document.addEventListener("visibilitychange", () => document.hidden || refresh())
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
