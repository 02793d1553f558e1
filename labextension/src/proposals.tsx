import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { Doubt } from './doubt';
import { Marked } from './marked';
import type { components } from './openapi';
import { problemOf } from './problem';
import { kindWord } from './promote';
import { StayingDialog } from './staying';
import type { ILoopManager } from './tokens';

type Proposal = components['schemas']['Proposal'];

const pathOf = (proposal: Proposal) =>
  `proposals/${proposal.kind}/${proposal.loop_id}`;

/** A proposal at one commit: the loop may promote more to it at any time. */
const keyOf = (proposal: Proposal) =>
  `${pathOf(proposal)}?commit=${proposal.commit}`;

/** What waits to be merged, each with what it changes and what can be done with it. */
class ProposalList extends ReactWidget {
  constructor(
    private _manager: ILoopManager,
    private _trans: TranslationBundle,
    private _proposals: readonly Proposal[]
  ) {
    super();
    this.addClass('jp-Loops-form');
    this.addClass('jp-Loops-proposals');
  }

  private async _do(
    proposal: Proposal,
    act: () => Promise<unknown>
  ): Promise<void> {
    this._doubtful = '';
    this._problem = undefined;
    try {
      await act();
    } catch (error) {
      this._tell(proposal, error);
    }
    if (this.isDisposed) {
      return;
    }
    try {
      // Also after a failure, which may be that there is another commit by now.
      this._proposals = await listed(this._manager);
    } catch (error) {
      this._tell(proposal, error);
    }
    this.update();
  }

  /** Keep the first failure to be shown beside its proposal. */
  private _tell(proposal: Proposal, error: unknown): void {
    const { sentence } = problemOf(this, this._trans, error);
    this._problem ??= { path: pathOf(proposal), message: sentence };
  }

  private async _show(proposal: Proposal): Promise<void> {
    const key = keyOf(proposal);
    await this._do(proposal, async () => {
      this._diffs.set(key, await this._manager.call<string>('GET', key));
    });
  }

  protected render(): React.ReactElement {
    const trans = this._trans;
    if (this._proposals.length === 0) {
      return <div role="status">{trans.__('Nothing waits to be merged.')}</div>;
    }
    return (
      <ul className="jp-Loops-proposalList">
        {this._proposals.map(proposal => this._one(proposal))}
      </ul>
    );
  }

  private _one(proposal: Proposal): React.ReactElement {
    const trans = this._trans;
    const path = pathOf(proposal);
    const key = keyOf(proposal);
    const diff = this._diffs.get(key);
    const problem =
      this._problem?.path === path ? this._problem.message : undefined;
    const button = (label: string, kind: string, act: () => void) => (
      <button
        type="button"
        className={`jp-mod-styled ${kind}`}
        aria-label={trans.__('%1: %2', label, proposal.title)}
        onClick={act}
      >
        {label}
      </button>
    );
    return (
      <li key={path}>
        <strong>{proposal.title}</strong>
        <div>
          {trans.__(
            '%1, by %2, commit %3: %4',
            kindWord(proposal.kind, trans),
            proposal.author,
            proposal.commit.slice(0, 10),
            proposal.files.join(', ')
          )}
        </div>
        {diff !== undefined && (
          <pre className="jp-Loops-diff" tabIndex={0}>
            {diff}
          </pre>
        )}
        {problem !== undefined && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={problem} />
          </div>
        )}
        {this._doubtful === key ? (
          <Doubt
            question={trans.__(
              'Discard it for everybody? The loop that it came from keeps its commits.'
            )}
            keep={trans.__('Cancel')}
            act={trans.__('Discard')}
            onKeep={() => this._doubt('')}
            onAct={() =>
              void this._do(proposal, () => this._manager.call('DELETE', key))
            }
          />
        ) : (
          <span className="jp-Loops-buttons">
            {diff === undefined &&
              button(
                trans.__('Show'),
                'jp-mod-reject',
                () => void this._show(proposal)
              )}
            {button(
              trans.__('Merge'),
              'jp-mod-accept',
              () =>
                void this._do(proposal, () =>
                  this._manager.call('POST', `${path}/merge`, {
                    commit: proposal.commit
                  })
                )
            )}
            {button(trans.__('Discard…'), 'jp-mod-warn', () =>
              this._doubt(key)
            )}
          </span>
        )}
      </li>
    );
  }

  /** Ask about a proposal before it is discarded; empty for none. */
  private _doubt(key: string): void {
    this._doubtful = key;
    this.update();
  }

  private _doubtful = '';
  private _diffs = new Map<string, string>();
  private _problem: { path: string; message: string } | undefined;
}

async function listed(manager: ILoopManager): Promise<readonly Proposal[]> {
  const found = await manager.call<components['schemas']['Proposals']>(
    'GET',
    'proposals'
  );
  return found.proposals;
}

/**
 * Shows what loops promoted in gated contexts, to be merged or discarded.
 *
 * @throws LoopError: the list cannot be had.
 */
export async function showProposals(
  manager: ILoopManager,
  trans: TranslationBundle
): Promise<void> {
  await new StayingDialog({
    title: trans.__('Proposals'),
    body: new ProposalList(manager, trans, await listed(manager)),
    close: trans.__('Close')
  }).launch();
}
