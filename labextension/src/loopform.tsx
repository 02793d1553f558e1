import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Choice, Text } from './fields';
import type { IValues } from './form';
import { DEFAULT_VAULT, vaultsOffered } from './form';
import { Marked } from './marked';
import { gib } from './sent';
import type { IChoices } from './tokens';
import { ofWorkspace } from './words';

/** What is wrong, and with which field; with none of them when undefined. */
export interface IProblem {
  field: keyof IValues | undefined;
  message: string;
}

type ChoiceName = 'isolation' | 'network' | 'knowledge' | 'tmp';
type TextName = Exclude<keyof IValues, ChoiceName | 'profiles' | 'vault'>;

const NO_CHOICES: IChoices = { repos: [], vaults: [], profiles: [] };

/** What the form of a new loop and that of a loop's settings have in common: fields, and what is wrong with them. */
export abstract class LoopForm extends ReactWidget {
  /**
   * @param trans - Translates.
   * @param values - What it begins with.
   * @param _onVaults - The person wants to see the vaults' variables.
   */
  constructor(
    protected trans: TranslationBundle,
    protected values: IValues,
    private _onVaults: () => void
  ) {
    super();
    this.addClass('jp-Loops-form');
  }

  getValue(): IValues {
    return this.values;
  }

  /** Show what there is to pick from. */
  offer(choices: IChoices): void {
    this.choices = choices;
    this.update();
  }

  /** Say what is wrong next to its field, and go there. */
  explain(problem: IProblem): void {
    this.problem = problem;
    this.update();
    if (problem.field !== undefined) {
      const id = `jp-loops-${problem.field}`;
      void this.renderPromise?.then(() => document.getElementById(id)?.focus());
    }
  }

  /** Show that the work is being done. */
  set isBusy(isBusy: boolean) {
    this._isBusy = isBusy;
    this.update();
  }

  protected set(changes: Partial<IValues>): void {
    this.values = { ...this.values, ...changes };
    this.problem = undefined;
    this.update();
  }

  protected problemOf(name: keyof IValues): string | undefined {
    return this.problem?.field === name ? this.problem.message : undefined;
  }

  protected textField(
    name: TextName,
    label: string,
    placeholder: string,
    more: React.InputHTMLAttributes<HTMLInputElement> = {}
  ): React.ReactElement {
    return (
      <Text
        id={`jp-loops-${name}`}
        label={label}
        problem={this.problemOf(name)}
        value={this.values[name]}
        more={{ placeholder, ...more }}
        onChange={text => this.set({ [name]: text })}
      />
    );
  }

  private _choiceField<N extends ChoiceName>(
    name: N,
    label: string,
    options: readonly (readonly [IValues[N], string])[],
    standard?: IValues[N]
  ): React.ReactElement {
    const word = options.find(([option]) => option === standard)?.[1];
    const unset = ['', ofWorkspace(word, this.trans)] as const;
    return (
      <Choice<IValues[N]>
        id={`jp-loops-${name}`}
        label={label}
        problem={this.problemOf(name)}
        value={this.values[name]}
        options={name === 'knowledge' ? options : [unset, ...options]}
        onChange={value => this.set({ [name]: value })}
      />
    );
  }

  protected titleField(): React.ReactElement {
    return this.textField(
      'title',
      this.trans.__('Title'),
      this.trans.__('What the work is about'),
      { maxLength: 200, 'aria-required': true }
    );
  }

  protected advancedFields(): React.ReactElement {
    const trans = this.trans;
    const { defaults } = this.choices;
    const { cpus, memory_bytes, pids, shm_size_bytes, devices } =
      defaults?.resources ?? {};
    const standard = (
      value: string | number | null | undefined,
      without: string
    ) => ofWorkspace(defaults && String(value ?? without), trans);
    const isTmpShared = defaults?.shared_tmp;
    // As text: what is no number is empty for a browser's own field of numbers, and would be sent as no limit.
    const number = { inputMode: 'decimal' } as const;
    return (
      <>
        {this.textField(
          'image',
          trans.__('Image'),
          standard(defaults?.image, trans.__('Built here'))
        )}
        {this._choiceField(
          'isolation',
          trans.__('Isolation'),
          [
            ['nested', trans.__('Podman runs inside')],
            ['strict', trans.__('Strict: no podman, no sudo inside')],
            ['privileged', trans.__('Privileged: only for what you trust')]
          ],
          defaults?.isolation
        )}
        {this._choiceField(
          'network',
          trans.__('Network'),
          [
            ['bridge', trans.__('Other loops and the internet')],
            ['none', trans.__('None')]
          ],
          defaults?.network
        )}
        {this._choiceField('knowledge', trans.__('Knowledge'), [
          ['', trans.__('Read-only')],
          ['changed', trans.__('Can be changed and promoted')]
        ])}
        {this.textField(
          'cpus',
          trans.__('Processors'),
          standard(cpus, trans.__('No limit')),
          number
        )}
        {this.textField(
          'memory',
          trans.__('Memory in GiB'),
          standard(memory_bytes && gib(memory_bytes), trans.__('No limit')),
          number
        )}
        {this.textField(
          'pids',
          trans.__('Processes and threads'),
          standard(pids, trans.__('Podman’s own limit')),
          number
        )}
        {this.textField(
          'shm',
          trans.__('Shared memory (/dev/shm) in GiB'),
          standard(shm_size_bytes && gib(shm_size_bytes), '0.0625'),
          number
        )}
        {this.textField(
          'devices',
          trans.__('Devices, such as nvidia.com/gpu=all'),
          // An empty list is none, too.
          standard(devices?.join(' ') || undefined, trans.__('None'))
        )}
        {this._choiceField(
          'tmp',
          trans.__('Folder /tmp'),
          [
            ['private', trans.__('The loop’s own')],
            ['shared', trans.__('Shared with the machine')]
          ],
          isTmpShared === undefined
            ? undefined
            : isTmpShared
              ? 'shared'
              : 'private'
        )}
      </>
    );
  }

  protected vaultField(): React.ReactElement {
    const trans = this.trans;
    const { vault } = this.values;
    const { vaults } = this.choices;
    return (
      <>
        <Choice
          id="jp-loops-vault"
          label={trans.__('Vault')}
          problem={this.problemOf('vault')}
          value={vault === DEFAULT_VAULT ? '' : vault}
          options={vaultsOffered(vaults, vault).map(({ name, locked }) => [
            name === DEFAULT_VAULT ? '' : name,
            locked ? trans.__('%1 (locked)', name) : name
          ])}
          onChange={vault => this.set({ vault })}
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

  /**
   * What is wrong with none of the fields, and that the work is being done.
   *
   * @param busy - Says what is being done.
   */
  protected outcome(busy: string): React.ReactElement {
    return (
      <div className="jp-Loops-outcome">
        {this.problem !== undefined && this.problem.field === undefined && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={this.problem.message} />
          </div>
        )}
        {this._isBusy && (
          <div role="status" className="jp-Loops-busy">
            {busy}
          </div>
        )}
      </div>
    );
  }

  protected choices: IChoices = NO_CHOICES;
  protected problem: IProblem | undefined;
  private _isBusy = false;
}
