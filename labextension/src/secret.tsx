import type { TranslationBundle } from '@jupyterlab/translation';
import * as React from 'react';

import type { IAttributes } from './fields';

interface IProps {
  attributes: IAttributes;
  value: string;
  trans: TranslationBundle;
  onChange: (value: string) => void;
}

/** A value that nobody should read over a shoulder, with a button that shows it; it may have several lines, as keys have. */
export function Secret(props: IProps): React.ReactElement {
  const { attributes, value, trans, onChange } = props;
  const [isShown, setShown] = React.useState(false);
  const lines = value.split('\n').length;
  const common = {
    ...attributes,
    autoComplete: 'off',
    spellCheck: false,
    placeholder: trans.__('It is never shown again')
  };
  return (
    <>
      {isShown ? (
        <textarea
          {...common}
          className="jp-mod-styled jp-Loops-secret"
          rows={Math.min(8, Math.max(2, lines))}
          value={value}
          onChange={event => onChange(event.target.value)}
        />
      ) : (
        <input
          {...common}
          type="password"
          autoComplete="new-password"
          // Such a field has one line: what has several is changed where it is shown.
          readOnly={lines > 1}
          value={value}
          onChange={event => onChange(event.target.value)}
          onPaste={event => {
            const pasted = event.clipboardData.getData('text/plain');
            if (pasted.includes('\n')) {
              event.preventDefault();
              onChange(pasted);
            }
          }}
        />
      )}
      <span className="jp-Loops-secretFoot">
        <button
          type="button"
          className="jp-Loops-link"
          aria-pressed={isShown}
          onClick={() => setShown(!isShown)}
        >
          {isShown ? trans.__('Hide the value') : trans.__('Show the value')}
        </button>
        {lines > 1 && !isShown && (
          <span>{trans._n('%1 line', '%1 lines', lines, lines)}</span>
        )}
      </span>
    </>
  );
}
