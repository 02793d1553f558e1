import type { TranslationBundle } from '@jupyterlab/translation';
import { closeIcon, ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { LoopError } from './api';
import { IconButton } from './button';
import { Doubt } from './doubt';
import { Choice, Field, Text } from './fields';
import { DEFAULT_VAULT, vaultsOffered } from './form';
import { Marked } from './marked';
import type { components } from './openapi';
import { problemOf } from './problem';
import { Secret } from './secret';
import { StayingDialog } from './staying';
import type { ILoopManager } from './tokens';

type Vault = components['schemas']['Vault'];

/** Chosen to make a vault; no vault can be called so. */
const NEW = '+';

/** Names of variables, and a way to set and remove them; values go in and are never shown. */
class VaultForm extends ReactWidget {
  constructor(
    private _manager: ILoopManager,
    private _trans: TranslationBundle,
    private _vaults: readonly Vault[],
    private _chosen: string
  ) {
    super();
    this.addClass('jp-Loops-form');
    if (!vaultsOffered(_vaults).some(({ name }) => name === _chosen)) {
      // A loop's vault that is gone, or was never there.
      this._newName = _chosen;
      this._chosen = NEW;
    }
  }

  /** Set the variable that was typed. */
  async apply(): Promise<boolean> {
    // Before the answer comes, another vault may be chosen and another variable typed, which stay.
    let vault = this._chosen;
    const isNew = vault === NEW;
    const newName = this._newName;
    const name = this._name;
    const value = this._value;
    await this._try(async () => {
      if (!isNew && name === '') {
        throw new LoopError(
          this._trans.__('Name the variable.'),
          0,
          'missing',
          'variable'
        );
      }
      if (isNew) {
        const made = await this._manager.call<Vault>('POST', 'vaults', {
          name: newName
        });
        vault = made.name;
        if (this._chosen === NEW && this._newName === newName) {
          this._chosen = vault;
          this._newName = '';
        }
      }
      if (name !== '') {
        await this._manager.call('PUT', variablePath(vault, name), { value });
        this._said = this._trans.__(
          '%1 is set. What starts from now on has it; what runs keeps what it has.',
          name
        );
        this._name = this._name === name ? '' : this._name;
        this._value = this._value === value ? '' : this._value;
      }
    });
    return false;
  }

  private async _remove(name: string): Promise<void> {
    this._doubtful = '';
    await this._try(async () => {
      await this._manager.call('DELETE', variablePath(this._chosen, name));
      this._said = this._trans.__(
        '%1 is removed. What starts from now on does not have it; what runs keeps it.',
        name
      );
    });
  }

  /** Does something, says what is wrong with it, and looks at what there is afterwards. */
  private async _try(act: () => Promise<void>): Promise<void> {
    this._said = '';
    this._problem = undefined;
    try {
      await act();
    } catch (error) {
      this._problem = problemOf(this, this._trans, error);
    }
    if (this.isDisposed) {
      return;
    }
    try {
      this._vaults = await listed(this._manager);
    } catch {
      // What was seen stays; the problem tells why.
    }
    this.update();
  }

  private _of(field: string): string | undefined {
    return this._problem?.field === field
      ? this._problem.besideField
      : undefined;
  }

  protected render(): React.ReactElement {
    const trans = this._trans;
    const vault = this._vaults.find(each => each.name === this._chosen);
    const isElsewhere =
      this._problem !== undefined &&
      !['name', 'variable', 'value'].includes(this._problem.field ?? '');
    return (
      <>
        <Choice
          id="jp-loops-vaults-vault"
          label={trans.__('Vault')}
          problem={undefined}
          value={this._chosen}
          options={[
            ...vaultsOffered(this._vaults).map(
              ({ name }) => [name, name] as const
            ),
            [NEW, trans.__('A new vault…')]
          ]}
          onChange={chosen => {
            this._chosen = chosen;
            this._problem = undefined;
            this._doubtful = this._said = '';
            this.update();
          }}
        />
        {this._chosen === NEW && (
          <Text
            id="jp-loops-vaults-new"
            label={trans.__('Name of the vault')}
            problem={this._of('name')}
            value={this._newName}
            onChange={text => {
              this._newName = text;
              this.update();
            }}
          />
        )}
        {this._chosen !== NEW && this._variables(vault)}
        {vault?.locked && (
          <div className="jp-Loops-note" role="note">
            {trans.__(
              'This vault is locked: loops start without its variables until “jupyter loopat vault unlock %1” was run.',
              vault.name
            )}
          </div>
        )}
        {vault?.warnings.map(warning => (
          <div key={warning} className="jp-Loops-note" role="note">
            <Marked text={warning} />
          </div>
        ))}
        <Text
          id="jp-loops-vaults-name"
          label={trans.__('Variable to set')}
          problem={this._of('variable')}
          value={this._name}
          more={{ placeholder: 'API_TOKEN' }}
          onChange={text => {
            this._name = text;
            this.update();
          }}
        />
        <Field
          id="jp-loops-vaults-value"
          label={trans.__('Value')}
          problem={this._of('value')}
          control={attributes => (
            <Secret
              attributes={attributes}
              value={this._value}
              trans={trans}
              onChange={value => {
                this._value = value;
                this.update();
              }}
            />
          )}
        />
        {isElsewhere && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={this._problem?.message ?? ''} />
          </div>
        )}
        <div role="status">{this._said}</div>
      </>
    );
  }

  private _variables(vault: Vault | undefined): React.ReactElement {
    const trans = this._trans;
    if (vault === undefined || vault.variables.length === 0) {
      return <div>{trans.__('It has no variables yet.')}</div>;
    }
    return (
      <div className="jp-Loops-field">
        <div id="jp-loops-vaults-variables">{trans.__('Variables')}</div>
        <ul
          className="jp-Loops-variables"
          aria-labelledby="jp-loops-vaults-variables"
        >
          {vault.variables.map(name => (
            <li key={name}>
              <code>{name}</code>
              {this._doubtful === name ? (
                <Doubt
                  keep={trans.__('Keep')}
                  act={trans.__('Remove')}
                  onKeep={() => this._doubt('')}
                  onAct={() => void this._remove(name)}
                />
              ) : (
                <IconButton
                  icon={closeIcon}
                  label={trans.__('Remove %1', name)}
                  onClick={() => this._doubt(name)}
                />
              )}
            </li>
          ))}
        </ul>
      </div>
    );
  }

  /** Ask about a variable before it is removed; empty for none. */
  private _doubt(name: string): void {
    this._doubtful = name;
    this.update();
  }

  private _newName = '';
  private _name = '';
  private _value = '';
  private _said = '';
  private _doubtful = '';
  private _problem: LoopError | undefined;
}

function variablePath(vault: string, variable: string): string {
  const parts = ['vaults', vault, 'variables', variable];
  return parts.map(encodeURIComponent).join('/');
}

async function listed(manager: ILoopManager): Promise<readonly Vault[]> {
  const found = await manager.call<components['schemas']['Vaults']>(
    'GET',
    'vaults'
  );
  return found.vaults;
}

/**
 * Shows the vaults until the dialog is closed.
 *
 * @param manager - Reaches the server.
 * @param trans - Translates.
 * @param vault - The one to begin with; empty for the default one.
 * @throws LoopError: they cannot be listed.
 */
export async function editVaults(
  manager: ILoopManager,
  trans: TranslationBundle,
  vault = ''
): Promise<void> {
  const form = new VaultForm(
    manager,
    trans,
    await listed(manager),
    vault || DEFAULT_VAULT
  );
  await new StayingDialog(
    {
      title: trans.__('Vaults'),
      body: form,
      close: trans.__('Close'),
      accept: trans.__('Set'),
      focusNodeSelector: '#jp-loops-vaults-vault'
    },
    () => form.apply()
  ).launch();
}
