import * as React from 'react';

interface IProps {
  /** What is asked; nothing where what stands beside it says so. */
  question?: string;
  /** Of the button that changes nothing. */
  keep: string;
  /** Of the button that does it. */
  act: string;
  onKeep: () => void;
  onAct: () => void;
}

/**
 * A question within a form, as JupyterLab shows one dialog at a time.
 *
 * As in JupyterLab's own dialogs of this kind: whoever presses Enter too early loses nothing.
 */
export function Doubt(props: IProps): React.ReactElement {
  return (
    <>
      {props.question !== undefined && <div>{props.question}</div>}
      <span className="jp-Loops-buttons jp-Loops-doubt">
        <button
          type="button"
          className="jp-mod-styled jp-mod-reject"
          autoFocus
          onClick={props.onKeep}
        >
          {props.keep}
        </button>
        <button
          type="button"
          className="jp-mod-styled jp-mod-warn"
          onClick={props.onAct}
        >
          {props.act}
        </button>
      </span>
    </>
  );
}
