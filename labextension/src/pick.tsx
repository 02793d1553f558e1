import { Dialog } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Choice } from './fields';
import { FormDialog } from './prompt';

type Options = readonly (readonly [string, string])[];

/** One field; JupyterLab's own dialog for this has no name for screen readers. */
class PickForm extends ReactWidget {
  constructor(
    private _label: string,
    private _options: Options,
    private _value: string
  ) {
    super();
    this.addClass('jp-Loops-form');
  }

  getValue(): string {
    return this._value;
  }

  protected render(): React.ReactElement {
    return (
      <Choice
        id="jp-loops-pick"
        label={this._label}
        problem={undefined}
        value={this._value}
        options={this._options}
        onChange={value => {
          this._value = value;
          this.update();
        }}
      />
    );
  }
}

/**
 * Asks which one is meant.
 *
 * @param title - Of the dialog.
 * @param label - Of the field.
 * @param options - Values and what they are called, in order.
 * @param accept - Of the button that accepts: what is done then.
 * @param value - The one that is picked at first.
 * @returns Undefined when the person changed their mind.
 */
export async function pick(
  title: string,
  label: string,
  options: Options,
  accept: string,
  value = options[0][0]
): Promise<string | undefined> {
  const answer = await new FormDialog<string>({
    title,
    body: new PickForm(label, options, value),
    buttons: [Dialog.cancelButton(), Dialog.okButton({ label: accept })],
    focusNodeSelector: '#jp-loops-pick'
  }).launch();
  return answer.button.accept ? (answer.value ?? undefined) : undefined;
}
