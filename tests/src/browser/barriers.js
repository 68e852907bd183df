const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22a', 'wcag22aa'];
return axe.run(document, { runOnly: tags, resultTypes: ['violations'] }).then(({ violations }) => {
  const found = violations.flatMap(({ id, impact, nodes }) => nodes.map((node) =>
    `${id} (${impact}) at ${node.target.join(' ')}: ${node.failureSummary} ${node.html.slice(0, 200)}`));
  const { scrollWidth } = document.documentElement;
  if (scrollWidth > innerWidth) found.push(`wider than the window: ${scrollWidth} instead of ${innerWidth}`);
  if (document.querySelectorAll('h1').length !== 1) found.push('not exactly one h1');
  return found;
});
