import { Dialog } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { LoopError } from './api';
import type { IValues } from './form';
import { ADVANCED, fieldOf, NO_VALUES, request, wrong } from './form';
import { ProfilePicker } from './profiles';
import type { IChoices, ILoopManager, Loop } from './tokens';

/** What a new loop begins with unless the person says otherwise. */
export interface IDefaults {
  vault: string;
  profiles: readonly string[];
}

/** How long the dialog waits for what there is to pick from; it fills it in later otherwise. */
const CHOICES_MS = 500;
const NO_CHOICES: IChoices = { repos: [], vaults: [], profiles: [] };

interface IProblem {
  field: keyof IValues | undefined;
  message: string;
}

/** The form of a new loop. Only the title is asked for. */
class NewLoopForm extends ReactWidget {
  constructor(
    private _trans: TranslationBundle,
    defaults: IDefaults
  ) {
    super();
    this.addClass('jp-Loops-form');
    this._values = { ...NO_VALUES, ...defaults };
  }

  getValue(): IValues {
    return this._values;
  }

  set choices(choices: IChoices) {
    this._choices = choices;
    this.update();
  }

  /** Show what is wrong next to its field, or that nothing is. */
  set problem(problem: IProblem | undefined) {
    this._problem = problem;
    this.update();
  }

  /** Show that the loop is being made. */
  set isBusy(isBusy: boolean) {
    this._isBusy = isBusy;
    this.update();
  }

  private _set(changes: Partial<IValues>): void {
    this._values = { ...this._values, ...changes };
    this._problem = undefined;
    this.update();
  }

  /** A label with its field below, and what is wrong with it. */
  private _field(
    name: keyof IValues,
    label: string,
    field: (attributes: {
      id: string;
      className: string;
      'aria-invalid': boolean;
      'aria-describedby': string | undefined;
    }) => React.ReactElement
  ): React.ReactElement {
    const id = `jp-loops-${name}`;
    const problem = this._problem?.field === name ? this._problem : undefined;
    return (
      <div className="jp-Loops-field">
        <label htmlFor={id}>{label}</label>
        {field({
          id,
          className: 'jp-mod-styled',
          'aria-invalid': problem !== undefined,
          'aria-describedby': problem && `${id}-problem`
        })}
        {problem && (
          <div role="alert" className="jp-Loops-problem" id={`${id}-problem`}>
            {problem.message}
          </div>
        )}
      </div>
    );
  }

  private _text(
    name: 'title' | 'repo' | 'ref' | 'image',
    label: string,
    placeholder: string,
    more: React.InputHTMLAttributes<HTMLInputElement> = {}
  ): React.ReactElement {
    return this._field(name, label, attributes => (
      <input
        {...attributes}
        {...more}
        value={this._values[name]}
        placeholder={placeholder}
        autoComplete="off"
        spellCheck={false}
        onChange={event => this._set({ [name]: event.target.value })}
      />
    ));
  }

  protected render(): React.ReactElement {
    const trans = this._trans;
    const { repos } = this._choices;
    const isAdvanced =
      this._problem?.field !== undefined &&
      ADVANCED.includes(this._problem.field);
    return (
      <>
        {this._text(
          'title',
          trans.__('Title'),
          trans.__('What the work is about'),
          { maxLength: 200, 'aria-required': true }
        )}
        {this._text(
          'repo',
          trans.__('Repo'),
          repos.length > 0
            ? trans.__('A name, URL or path; empty for none')
            : trans.__('A URL or path; empty for none'),
          { list: 'jp-loops-repos' }
        )}
        <datalist id="jp-loops-repos">
          {repos.map(repo => (
            <option key={repo.name} value={repo.name}>
              {repo.url}
            </option>
          ))}
        </datalist>
        {this._text(
          'ref',
          trans.__('Branch, tag or commit'),
          this._defaultBranch() ?? trans.__('The repo’s default branch')
        )}
        {this._vault()}
        {this._profiles()}
        <details
          className="jp-Loops-advanced"
          open={this._isUnfolded || isAdvanced}
          onToggle={event => {
            this._isUnfolded = event.currentTarget.open;
          }}
        >
          <summary>{trans.__('Advanced')}</summary>
          {this._text(
            'image',
            trans.__('Image'),
            trans.__('The workspace’s own')
          )}
          {this._field('network', trans.__('Network'), attributes => (
            <select
              {...attributes}
              value={this._values.network}
              onChange={event =>
                this._set({
                  network: event.target.value as IValues['network']
                })
              }
            >
              <option value="">{trans.__('As the workspace says')}</option>
              <option value="bridge">
                {trans.__('Other loops and the internet')}
              </option>
              <option value="none">{trans.__('None')}</option>
            </select>
          ))}
          {this._isolation()}
        </details>
        {this._problem !== undefined && this._problem.field === undefined && (
          <div role="alert" className="jp-Loops-problem">
            {this._problem.message}
          </div>
        )}
        {this._isBusy && (
          <div role="status" className="jp-Loops-busy">
            {this._values.repo === ''
              ? trans.__('Making the loop…')
              : trans.__('Making the loop and fetching the repo…')}
          </div>
        )}
      </>
    );
  }

  private _isolation(): React.ReactElement {
    const trans = this._trans;
    return this._field('isolation', trans.__('Isolation'), attributes => (
      <select
        {...attributes}
        value={this._values.isolation}
        onChange={event =>
          this._set({
            isolation: event.target.value as IValues['isolation']
          })
        }
      >
        <option value="">{trans.__('As the workspace says')}</option>
        <option value="nested">{trans.__('Podman runs inside')}</option>
        <option value="strict">
          {trans.__('Strict: no podman, no sudo inside')}
        </option>
        <option value="privileged">
          {trans.__('Privileged: for what you trust only')}
        </option>
      </select>
    ));
  }

  private _defaultBranch(): string | undefined {
    const { repo } = this._values;
    const picked = this._choices.repos.find(each => each.name === repo);
    return picked?.default_branch ?? undefined;
  }

  private _vault(): React.ReactElement | null {
    const trans = this._trans;
    const { vault } = this._values;
    const { vaults } = this._choices;
    if (vaults.length === 0 && vault === '') {
      return null;
    }
    const isUnknown =
      vault !== '' && !vaults.some(known => known.name === vault);
    return this._field('vault', trans.__('Vault'), attributes => (
      <select
        {...attributes}
        value={vault}
        onChange={event => this._set({ vault: event.target.value })}
      >
        <option value="">{trans.__('As the workspace says')}</option>
        {isUnknown && <option value={vault}>{vault}</option>}
        {vaults.map(known => (
          <option key={known.name} value={known.name}>
            {known.locked ? trans.__('%1 (locked)', known.name) : known.name}
          </option>
        ))}
      </select>
    ));
  }

  private _profiles(): React.ReactElement | null {
    const { profiles } = this._choices;
    const chosen = this._values.profiles;
    if (profiles.length === 0 && chosen.length === 0) {
      return null;
    }
    return this._field('profiles', this._trans.__('Profiles'), attributes => (
      <ProfilePicker
        attributes={attributes}
        chosen={chosen}
        known={profiles}
        trans={this._trans}
        onChange={profiles => this._set({ profiles })}
      />
    ));
  }

  private _values: IValues;
  private _choices: IChoices = NO_CHOICES;
  private _isUnfolded = false;
  private _isBusy = false;
  private _problem: IProblem | undefined;
}

/** Stays open until the loop is made: what is wrong is said where it was typed. */
class NewLoopDialog extends Dialog<IValues> {
  constructor(
    private _form: NewLoopForm,
    private _manager: ILoopManager,
    private _trans: TranslationBundle
  ) {
    super({
      title: _trans.__('New Loop'),
      body: _form,
      buttons: [
        Dialog.cancelButton(),
        Dialog.okButton({ label: _trans.__('Create') })
      ],
      focusNodeSelector: '#jp-loops-title'
    });
  }

  /** The loop, once it is made. */
  made: Loop | undefined;

  override resolve(index?: number): void {
    const CREATE = 1;
    if ((index ?? CREATE) === CREATE) {
      void this._create();
    } else {
      super.resolve(index);
    }
  }

  private async _create(): Promise<void> {
    if (this._isBusy) {
      return;
    }
    const values = this._form.getValue();
    const found = wrong(values);
    if (found !== undefined) {
      this._explain({
        field: found.field,
        message:
          found.why === 'missing'
            ? this._trans.__('Give the loop a title.')
            : this._trans.__('Say of which repo.')
      });
      return;
    }
    this._setBusy(true);
    try {
      this.made = await this._manager.create(request(values));
    } catch (error) {
      this._setBusy(false);
      this._explain({
        field: error instanceof LoopError ? fieldOf(error.field) : undefined,
        message: error instanceof Error ? error.message : String(error)
      });
      return;
    }
    super.resolve(1);
  }

  private _setBusy(isBusy: boolean): void {
    this._isBusy = isBusy;
    this._form.isBusy = isBusy;
    const button = this.node.querySelector('.jp-mod-accept');
    button?.toggleAttribute('disabled', isBusy);
  }

  private _explain(problem: IProblem): void {
    this._form.problem = problem;
    if (problem.field !== undefined) {
      const id = `jp-loops-${problem.field}`;
      void this._form.renderPromise?.then(() =>
        document.getElementById(id)?.focus()
      );
    }
  }

  private _isBusy = false;
}

/**
 * Asks for a new loop and makes it.
 *
 * @param manager - Makes it.
 * @param trans - Translates.
 * @param defaults - What the form begins with.
 * @returns The loop; undefined when the person changed their mind.
 */
export async function newLoop(
  manager: ILoopManager,
  trans: TranslationBundle,
  defaults: IDefaults
): Promise<Loop | undefined> {
  const form = new NewLoopForm(trans, defaults);
  const filled = manager.choices().then(choices => {
    form.choices = choices;
  });
  // Fields that come while somebody types would make the form jump.
  await Promise.race([
    filled,
    new Promise(resolve => setTimeout(resolve, CHOICES_MS))
  ]);
  const dialog = new NewLoopDialog(form, manager, trans);
  await dialog.launch();
  return dialog.made;
}
