// Before anything is drawn, so that a page that was set to dark does not flash white. Not a module: those
// wait for the document.
try {
  const theme = localStorage.getItem('outboard.theme');
  if (theme) document.documentElement.dataset.theme = theme;
} catch {
  // A browser that forbids storage has no theme to remember.
}
