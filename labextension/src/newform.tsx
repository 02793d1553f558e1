import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Choice, Field, Text } from './fields';
import type { IValues } from './form';
import { ADVANCED, DEFAULT_VAULT, vaultsOffered } from './form';
import { Marked } from './marked';
import { ProfilePicker } from './profiles';
import type { IChoices } from './tokens';

/** What a new loop begins with unless the person says otherwise. */
export interface IDefaults {
  vault: string;
  profiles: readonly string[];
}

/** What is wrong, and with which field; with none of them when undefined. */
export interface IProblem {
  field: keyof IValues | undefined;
  message: string;
}

type TextName = 'title' | 'repo' | 'ref' | 'image' | 'cpus' | 'memory' | 'pids';
type ChoiceName = 'isolation' | 'network' | 'knowledge';

const NO_CHOICES: IChoices = { repos: [], vaults: [], profiles: [] };

/** The form of a new loop. Only the title is asked for. */
export class NewLoopForm extends ReactWidget {
  constructor(
    private _trans: TranslationBundle,
    private _values: IValues,
    private _onVaults: () => void
  ) {
    super();
    this.addClass('jp-Loops-form');
  }

  getValue(): IValues {
    return this._values;
  }

  set choices(choices: IChoices) {
    this._choices = choices;
    this.update();
  }

  /** Say what is wrong next to its field, and go there. */
  explain(problem: IProblem): void {
    this._problem = problem;
    this.update();
    if (problem.field !== undefined) {
      const id = `jp-loops-${problem.field}`;
      void this.renderPromise?.then(() => document.getElementById(id)?.focus());
    }
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

  private _problemOf(name: keyof IValues): string | undefined {
    return this._problem?.field === name ? this._problem.message : undefined;
  }

  private _text(
    name: TextName,
    label: string,
    placeholder: string,
    more: React.InputHTMLAttributes<HTMLInputElement> = {}
  ): React.ReactElement {
    return (
      <Text
        id={`jp-loops-${name}`}
        label={label}
        problem={this._problemOf(name)}
        value={this._values[name]}
        more={{ placeholder, ...more }}
        onChange={text => this._set({ [name]: text })}
      />
    );
  }

  private _choice<N extends ChoiceName>(
    name: N,
    label: string,
    options: readonly (readonly [IValues[N], string])[]
  ): React.ReactElement {
    return (
      <Choice<IValues[N]>
        id={`jp-loops-${name}`}
        label={label}
        problem={this._problemOf(name)}
        value={this._values[name]}
        options={options}
        onChange={value => this._set({ [name]: value })}
      />
    );
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
        {this._profiles()}
        {this._vault()}
        <details
          className="jp-Loops-advanced"
          open={this._isUnfolded || isAdvanced}
          onToggle={event => {
            this._isUnfolded = event.currentTarget.open;
          }}
        >
          <summary>{trans.__('Advanced')}</summary>
          {this._advanced()}
        </details>
        {this._problem !== undefined && this._problem.field === undefined && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={this._problem.message} />
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

  private _advanced(): React.ReactElement {
    const trans = this._trans;
    const asWorkspace = trans.__('As the workspace says');
    const number = { type: 'number', step: 'any' };
    return (
      <>
        {this._text(
          'image',
          trans.__('Image'),
          trans.__('The workspace’s own')
        )}
        {this._choice('isolation', trans.__('Isolation'), [
          ['', asWorkspace],
          ['nested', trans.__('Podman runs inside')],
          ['strict', trans.__('Strict: no podman, no sudo inside')],
          ['privileged', trans.__('Privileged: for what you trust only')]
        ])}
        {this._choice('network', trans.__('Network'), [
          ['', asWorkspace],
          ['bridge', trans.__('Other loops and the internet')],
          ['none', trans.__('None')]
        ])}
        {this._choice('knowledge', trans.__('Knowledge'), [
          ['', trans.__('To be read')],
          ['changed', trans.__('To be changed and promoted')]
        ])}
        {this._text('cpus', trans.__('Processors'), asWorkspace, number)}
        {this._text('memory', trans.__('Memory in GiB'), asWorkspace, number)}
        {this._text(
          'pids',
          trans.__('Processes and threads'),
          asWorkspace,
          number
        )}
      </>
    );
  }

  private _defaultBranch(): string | undefined {
    const { repo } = this._values;
    const picked = this._choices.repos.find(each => each.name === repo);
    return picked?.default_branch ?? undefined;
  }

  private _vault(): React.ReactElement {
    const trans = this._trans;
    const { vault } = this._values;
    const { vaults } = this._choices;
    return (
      <>
        <Choice
          id="jp-loops-vault"
          label={trans.__('Vault')}
          problem={this._problemOf('vault')}
          value={vault === DEFAULT_VAULT ? '' : vault}
          options={vaultsOffered(vaults, vault).map(({ name, locked }) => [
            name === DEFAULT_VAULT ? '' : name,
            locked ? trans.__('%1 (locked)', name) : name
          ])}
          onChange={vault => this._set({ vault })}
        />
        <button
          type="button"
          className="jp-Loops-link"
          disabled={this._isBusy}
          onClick={() => this._onVaults()}
        >
          {trans.__('Variables of vaults…')}
        </button>
      </>
    );
  }

  private _profiles(): React.ReactElement | null {
    const { profiles } = this._choices;
    const chosen = this._values.profiles;
    if (profiles.length === 0 && chosen.length === 0) {
      return null;
    }
    return (
      <Field
        id="jp-loops-profiles"
        label={this._trans.__('Profiles')}
        problem={this._problemOf('profiles')}
        control={attributes => (
          <ProfilePicker
            attributes={attributes}
            chosen={chosen}
            known={profiles}
            trans={this._trans}
            onChange={profiles => this._set({ profiles })}
          />
        )}
      />
    );
  }

  private _choices: IChoices = NO_CHOICES;
  private _isUnfolded = false;
  private _isBusy = false;
  private _problem: IProblem | undefined;
}
