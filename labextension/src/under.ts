/**
 * Remembers what each context menu is opened on: its row may be another one, or gone, when something is chosen.
 *
 * @returns Tells the id of the loop on whose row the last one was opened; undefined elsewhere.
 */
export function loopUnderMenu(): () => string | undefined {
  let id: string | undefined;
  document.addEventListener(
    'contextmenu',
    ({ target }) => {
      const row =
        target instanceof Element
          ? target.closest<HTMLElement>('[data-loop]')
          : null;
      id = row?.dataset['loop'];
    },
    // Before JupyterLab asks which commands fit.
    true
  );
  return () => id;
}
