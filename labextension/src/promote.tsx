import { Notification } from '@jupyterlab/apputils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Choice, Text } from './fields';
import { Marked } from './marked';
import type { components } from './openapi';
import { problemOf } from './problem';
import { StayingDialog } from './staying';
import type { ILoopManager, Loop } from './tokens';
import { fullTitle, promotable } from './words';

type Kind = components['schemas']['Promote']['context'];
type Promotion = components['schemas']['Promotion'];

/** How long a notice stays that asks for nothing. */
const TOLD_MS = 10_000;

/** What a context is called. */
export function kindWord(kind: Kind, trans: TranslationBundle): string {
  const words: Record<Kind, string> = {
    knowledge: trans.__('Knowledge'),
    notes: trans.__('Notes'),
    personal: trans.__('Personal files')
  };
  return words[kind];
}

/** The form: which context, and what the commit says. */
class PromoteForm extends ReactWidget {
  constructor(
    private _manager: ILoopManager,
    private _trans: TranslationBundle,
    private _loop: Loop
  ) {
    super();
    this.addClass('jp-Loops-form');
    this._kind = promotable(_loop)[0];
  }

  async apply(): Promise<boolean> {
    const trans = this._trans;
    const name = kindWord(this._kind, trans);
    try {
      const { outcome } = await this._manager.call<Promotion>(
        'POST',
        `loops/${this._loop.id}/promote`,
        { context: this._kind, message: this._message }
      );
      const words: Record<Promotion['outcome'], string> = {
        merged: trans.__('%1: everybody’s next loop has it.', name),
        proposed: trans.__(
          '%1: it waits to be merged, under “Proposals…” of the panel’s menu.',
          name
        ),
        unchanged: trans.__('%1: this loop changed nothing there.', name)
      };
      Notification.success(words[outcome], { autoClose: TOLD_MS });
      return true;
    } catch (error) {
      this._problem = problemOf(this, trans, error).sentence;
      this.update();
      return false;
    }
  }

  protected render(): React.ReactElement {
    const trans = this._trans;
    return (
      <>
        <Choice
          id="jp-loops-promote-context"
          label={trans.__('What this loop changed in')}
          problem={undefined}
          value={this._kind}
          options={promotable(this._loop).map(
            kind => [kind, kindWord(kind, trans)] as const
          )}
          onChange={kind => {
            this._kind = kind;
            this._problem = undefined;
            this.update();
          }}
        />
        {!this._loop.config.knowledge_rw && (
          <div className="jp-Loops-note" role="note">
            {trans.__(
              'This loop may only read the knowledge. To change that, set “Knowledge” in “Loop Settings…” of its menu.'
            )}
          </div>
        )}
        <Text
          id="jp-loops-promote-message"
          label={trans.__('What it is about')}
          problem={undefined}
          value={this._message}
          more={{
            placeholder: trans.__('If empty: Work of loop %1', this._loop.title)
          }}
          onChange={text => {
            this._message = text;
            this.update();
          }}
        />
        {this._problem !== undefined && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={this._problem} />
          </div>
        )}
      </>
    );
  }

  private _kind: Kind;
  private _message = '';
  private _problem: string | undefined;
}

/** Asks what to promote of a loop, for everybody, and does it. */
export async function promoteLoop(
  options: { manager: ILoopManager; trans: TranslationBundle },
  loop: Loop
): Promise<void> {
  const { manager, trans } = options;
  const form = new PromoteForm(manager, trans, loop);
  await new StayingDialog(
    {
      title: trans.__('Promote from “%1”', fullTitle(loop, manager)),
      body: form,
      close: trans.__('Cancel'),
      accept: trans.__('Promote'),
      focusNodeSelector: '#jp-loops-promote-context'
    },
    () => form.apply()
  ).launch();
}
