"use strict";

// Keeps the page as it stands now: every 15 seconds what the server shows is put in its place. Without this script the
// page reloads itself, and the filter is a form.
(() => {
  const SECONDS = 15;
  const filter = document.getElementById("filter");
  let timer = 0;
  let asking = null;

  const isReading = () => {
    const selection = getSelection();
    return !selection.isCollapsed && document.getElementById("live").contains(selection.anchorNode);
  };

  const show = (fresh) => {
    const live = document.getElementById("live");
    const focused = live.contains(document.activeElement) ? document.activeElement.id : "";
    live.replaceWith(document.adoptNode(fresh.getElementById("live")));
    if (focused) document.getElementById(focused)?.focus();
    const summary = document.getElementById("summary");
    const news = fresh.getElementById("summary");
    summary.className = news.className;
    // A live region is read aloud when it changes: only then is it touched.
    if (summary.textContent !== news.textContent) summary.textContent = news.textContent;
    document.title = fresh.title;
  };

  const refresh = async () => {
    clearTimeout(timer);
    asking?.abort();
    const mine = (asking = new AbortController());
    try {
      const answer = await fetch(location.href, { cache: "no-store", signal: mine.signal });
      if (!answer.ok) throw new Error(answer.statusText);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (mine.signal.aborted) return;
      if (!isReading()) show(fresh);
      document.getElementById("silent").hidden = true;
    } catch (error) {
      if (mine.signal.aborted) return;
      document.getElementById("silent").hidden = false;
    }
    timer = setTimeout(refresh, SECONDS * 1000);
  };

  document.documentElement.classList.add("scripted");
  filter?.form.addEventListener("submit", (event) => event.preventDefault());
  filter?.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      const wanted = filter.value.trim();
      history.replaceState(null, "", wanted ? `?${new URLSearchParams({ q: wanted })}` : location.pathname);
      refresh();
    }, 200);
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));
  timer = setTimeout(refresh, SECONDS * 1000);
})();
