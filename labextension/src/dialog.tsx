import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { LoopError } from './api';
import type { ILoopManager, Loop, NewLoop } from './tokens';

/** The values of the form; texts are empty for "as the workspace says". */
interface IValues {
  title: string;
  image: string;
  network: string;
}

const FIELDS: Record<string, keyof IValues> = {
  title: 'title',
  image: 'image',
  'config.network': 'network'
};

/** The form of a new loop. Only the title is asked for. */
class NewLoopForm extends ReactWidget {
  constructor(private _trans: TranslationBundle) {
    super();
    this.addClass('jp-Loops-form');
  }

  getValue(): IValues {
    return this._values;
  }

  /** Show what the server refused next to its field. */
  explain(problem: { field?: string; message: string } | undefined): void {
    this._problem = problem;
    this.update();
  }

  private _set(changes: Partial<IValues>): void {
    this._values = { ...this._values, ...changes };
    this._problem = undefined;
    this.update();
  }

  private _isAbout(field: keyof IValues): boolean {
    const named = this._problem?.field;
    return named !== undefined && FIELDS[named] === field;
  }

  private _fieldProblem(field: keyof IValues): React.ReactElement | null {
    if (this._problem === undefined || !this._isAbout(field)) {
      return null;
    }
    return (
      <div
        role="alert"
        className="jp-Loops-problem"
        id={`jp-loops-${field}-problem`}
      >
        {this._problem.message}
      </div>
    );
  }

  protected render(): React.ReactElement {
    const trans = this._trans;
    const general =
      this._problem &&
      !(this._problem.field !== undefined && this._problem.field in FIELDS);
    return (
      <>
        <label htmlFor="jp-loops-title">{trans.__('Title')}</label>
        <input
          id="jp-loops-title"
          className="jp-mod-styled"
          value={this._values.title}
          placeholder={trans.__('What the work is about')}
          maxLength={200}
          required
          aria-describedby="jp-loops-title-problem"
          onChange={event => this._set({ title: event.target.value })}
        />
        {this._fieldProblem('title')}
        <details
          className="jp-Loops-advanced"
          open={
            this._advanced || this._isAbout('image') || this._isAbout('network')
          }
          onToggle={event => {
            this._advanced = event.currentTarget.open;
          }}
        >
          <summary>{trans.__('Advanced')}</summary>
          <label htmlFor="jp-loops-image">{trans.__('Image')}</label>
          <input
            id="jp-loops-image"
            className="jp-mod-styled"
            value={this._values.image}
            placeholder={trans.__('The workspace’s own')}
            aria-describedby="jp-loops-image-problem"
            onChange={event => this._set({ image: event.target.value })}
          />
          {this._fieldProblem('image')}
          <label htmlFor="jp-loops-network">{trans.__('Network')}</label>
          <select
            id="jp-loops-network"
            className="jp-mod-styled"
            value={this._values.network}
            onChange={event => this._set({ network: event.target.value })}
          >
            <option value="">{trans.__('As the workspace says')}</option>
            <option value="bridge">
              {trans.__('Other loops and the internet')}
            </option>
            <option value="none">{trans.__('None')}</option>
          </select>
        </details>
        {general && (
          <div role="alert" className="jp-Loops-problem">
            {this._problem?.message}
          </div>
        )}
      </>
    );
  }

  private _values: IValues = { title: '', image: '', network: '' };
  private _advanced = false;
  private _problem: { field?: string; message: string } | undefined;
}

/**
 * Asks for a new loop and makes it.
 *
 * @returns The loop; undefined when the person changed their mind.
 */
export async function newLoop(
  manager: ILoopManager,
  trans: TranslationBundle
): Promise<Loop | undefined> {
  const form = new NewLoopForm(trans);
  for (;;) {
    const dialog = new Dialog<IValues>({
      title: trans.__('New Loop'),
      body: form,
      buttons: [
        Dialog.cancelButton(),
        Dialog.okButton({ label: trans.__('Create') })
      ],
      focusNodeSelector: '#jp-loops-title'
    });
    const answer = await dialog.launch();
    if (!answer.button.accept || answer.value === null) {
      return undefined;
    }
    try {
      return await manager.create(options(answer.value));
    } catch (error) {
      const field = error instanceof LoopError ? error.field : undefined;
      form.explain({
        field,
        message: error instanceof Error ? error.message : String(error)
      });
      // The dialog took its body along when it closed.
      form.parent = null;
    }
  }
}

function options(values: IValues): NewLoop {
  const made: NewLoop = { title: values.title };
  if (values.image.trim() !== '') {
    made.image = values.image.trim();
  }
  if (values.network !== '') {
    made.config = {
      network: values.network as 'bridge' | 'none',
      shared_tmp: null
    };
  }
  return made;
}
