import { Dialog } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Text } from './fields';
import { FormDialog } from './prompt';

interface IQuestion {
  title: string;
  /** Said above the field; nothing without it. */
  about?: string;
  /** Of the field. */
  label: string;
  /** What the field begins with. */
  value: string;
  /** Of the button that accepts. */
  accept: string;
}

class TitleForm extends ReactWidget {
  constructor(private _question: IQuestion) {
    super();
    this.addClass('jp-Loops-form');
    this._value = _question.value;
  }

  getValue(): string {
    return this._value;
  }

  protected render(): React.ReactElement {
    const { about, label } = this._question;
    return (
      <>
        {about !== undefined && <div>{about}</div>}
        <Text
          id="jp-loops-retitled"
          label={label}
          problem={undefined}
          value={this._value}
          more={{ onFocus: event => event.target.select() }}
          onChange={text => {
            this._value = text;
            this.update();
          }}
        />
      </>
    );
  }

  private _value: string;
}

/**
 * Asks for the title of a loop, in a field as wide as those of the other forms.
 *
 * @returns Undefined when the person changed their mind, or left it empty.
 */
export async function askTitle(
  question: IQuestion
): Promise<string | undefined> {
  const answer = await new FormDialog<string>({
    title: question.title,
    body: new TitleForm(question),
    buttons: [
      Dialog.cancelButton(),
      Dialog.okButton({ label: question.accept })
    ],
    focusNodeSelector: '#jp-loops-retitled'
  }).launch();
  return answer.button.accept ? answer.value?.trim() || undefined : undefined;
}
