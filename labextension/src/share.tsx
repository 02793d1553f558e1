import type { JupyterFrontEnd } from '@jupyterlab/application';
import { Clipboard, IFrame, MainAreaWidget } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { IDisposable } from '@lumino/disposable';
import type { Message } from '@lumino/messaging';
import * as React from 'react';

import { LoopError } from './api';
import { Choice, Text } from './fields';
import { loopIcon } from './icons';
import { look } from './looking';
import { Marked } from './marked';
import type { components } from './openapi';
import { Ports } from './ports';
import { problemOf } from './problem';
import { StayingDialog } from './staying';
import type { ILoopManager, Loop } from './tokens';
import { fullTitle } from './words';

type Sharing = components['schemas']['Sharing'];
type ShareLoop = components['schemas']['ShareLoop'];

const LOOK_MS = 3000;

/** What sharing works on. */
export interface IShareOptions {
  app: JupyterFrontEnd;
  manager: ILoopManager;
  trans: TranslationBundle;
}

/** The form: what is shared, where that is found, and what could be shared. */
class ShareForm extends ReactWidget {
  constructor(
    private _options: IShareOptions,
    private _path: string,
    private _title: string,
    private _sharing: Sharing,
    private _close: () => void
  ) {
    super();
    this.addClass('jp-Loops-form');
    const { mode, port, alias, protocol, public_port } = _sharing;
    this._values = { mode, port, alias, protocol, public_port };
  }

  /** Share what the form says. It stays open: the address is there to be copied. */
  async apply(): Promise<boolean> {
    const wanted = this._wanted();
    if (wanted.port === null && (this._isNumbered || wanted.mode === 'port')) {
      const message = this._options.trans.__(
        'Give the port that a program in the loop listens on, such as 8000.'
      );
      this._problem = new LoopError(message, 0, 'missing', 'port');
      this.update();
      return false;
    }
    this._isBusy = true;
    // What was asked before says how it was before.
    this._looking?.dispose();
    this.update();
    try {
      const { manager } = this._options;
      this._sharing = await manager.call('PUT', this._path, wanted);
      this._problem = undefined;
    } catch (error) {
      this._problem = problemOf(this, this._options.trans, error);
    } finally {
      this._isBusy = false;
      this.update();
      this._look();
    }
    return false;
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._look();
  }

  protected override onBeforeDetach(message: Message): void {
    this._looking?.dispose();
    super.onBeforeDetach(message);
  }

  /** Programs begin and cease to listen while the form is open. What was seen stays where a question fails. */
  private _look(): void {
    if (!this.isAttached) {
      return;
    }
    const { manager } = this._options;
    this._looking = look<Sharing>({
      ask: signal => manager.call('GET', this._path, undefined, signal),
      hear: found => {
        this._sharing = found;
        this.update();
      },
      pauseMs: LOOK_MS
    });
  }

  /** Whether what is shared listens where nobody outside the loop reaches it. */
  private _isDeaf({ mode, port, protocol }: ShareLoop): boolean {
    return (
      !['off', 'static'].includes(mode) &&
      this._sharing.listening.some(
        found =>
          found.port === port && found.protocol === protocol && !found.reachable
      )
    );
  }

  private get _isNamed(): boolean {
    return ['static', 'port'].includes(this._values.mode);
  }

  private get _isNumbered(): boolean {
    return ['direct', 'ephemeral'].includes(this._values.mode);
  }

  private _wanted(): ShareLoop {
    const { mode, port, alias, protocol, public_port } = this._values;
    return {
      mode,
      port: this._isNumbered || mode === 'port' ? port : null,
      alias: this._isNamed && alias ? alias : null,
      protocol: this._isNumbered ? protocol : 'tcp',
      public_port: mode === 'direct' ? public_port : null
    };
  }

  private _set(changes: Partial<ShareLoop>): void {
    this._values = { ...this._values, ...changes };
    this._problem = undefined;
    this.update();
  }

  /** Id, label and problem of a field. */
  private _field(
    name: keyof ShareLoop,
    label: string
  ): { id: string; label: string; problem: string | undefined } {
    const id = `jp-loops-share-${name.replace('_', '-')}`;
    const problem =
      this._problem?.field === name ? this._problem.besideField : undefined;
    return { id, label, problem };
  }

  private _port(
    name: 'port' | 'public_port',
    label: string,
    placeholder = ''
  ): React.ReactElement {
    return (
      <Text
        {...this._field(name, label)}
        value={String(this._values[name] ?? '')}
        more={{ type: 'number', placeholder }}
        onChange={text =>
          this._set({ [name]: text === '' ? null : Number(text) })
        }
      />
    );
  }

  protected render(): React.ReactElement {
    const { trans } = this._options;
    const { mode, alias, protocol } = this._values;
    const shown: (keyof ShareLoop | undefined)[] = [
      'mode',
      this._isNumbered || mode === 'port' ? 'port' : undefined,
      mode === 'direct' ? 'public_port' : undefined,
      this._isNumbered ? 'protocol' : undefined,
      this._isNamed ? 'alias' : undefined
    ];
    const has = (field: string | undefined) =>
      shown.some(name => name !== undefined && name === field);
    return (
      <>
        <Choice
          {...this._field('mode', trans.__('Share'))}
          value={mode}
          options={[
            ['off', trans.__('Nothing')],
            ['static', trans.__('Files')],
            ['port', trans.__('A web server')],
            ['direct', trans.__('Another port, under a number that stays')],
            [
              'ephemeral',
              trans.__('Another port, under a new number each start')
            ]
          ]}
          onChange={mode => this._set({ mode })}
        />
        {has('port') && this._port('port', trans.__('Port in the loop'))}
        {has('public_port') &&
          this._port(
            'public_port',
            trans.__('Port of this machine'),
            trans.__('The first one that is free')
          )}
        {has('protocol') && (
          <Choice
            {...this._field('protocol', trans.__('Protocol'))}
            value={protocol}
            options={[
              ['tcp', 'TCP'],
              ['udp', 'UDP']
            ]}
            onChange={protocol => this._set({ protocol })}
          />
        )}
        {has('alias') && (
          <Text
            {...this._field('alias', trans.__('Name'))}
            value={alias ?? ''}
            more={{ placeholder: trans.__('The beginning of the loop’s id') }}
            onChange={alias => this._set({ alias })}
          />
        )}
        <Ports
          listening={this._sharing.listening}
          trans={trans}
          onPick={({ port, protocol }) =>
            this._set({
              port,
              protocol,
              mode: protocol === 'udp' ? 'direct' : 'port'
            })
          }
        />
        {this._isDeaf(this._wanted()) && (
          <div role="status" className="jp-Loops-note">
            {trans.__(
              'The program on port %1 listens inside the loop only, as on 127.0.0.1, so nobody outside can reach it. Have it listen on 0.0.0.0.',
              this._values.port
            )}
          </div>
        )}
        {mode !== 'off' && (
          <div className="jp-Loops-hint">
            {trans.__(
              'Anyone who can reach the address sees it; there is no password.'
            )}
            {mode === 'static' &&
              ' ' +
                trans.__(
                  'The address alone shows “index.html”. To see another file, add its name to the address: there is no list.'
                )}
          </div>
        )}
        {this._found()}
        {this._problem !== undefined && !has(this._problem.field) && (
          <div role="alert" className="jp-Loops-problem">
            <Marked text={this._problem.message} />
          </div>
        )}
        {this._isBusy && (
          <div role="status" className="jp-Loops-busy">
            {trans.__('Sharing it: the first time takes a minute…')}
          </div>
        )}
      </>
    );
  }

  /** Where it is found, to copy and to open. */
  private _found(): React.ReactElement {
    const { app, trans } = this._options;
    const { url, jupyter_path, state } = this._sharing;
    const states: Partial<Record<Sharing['state'], string>> = {
      not_listening: this._isDeaf(this._sharing)
        ? undefined
        : trans.__('Nothing answers at this port yet.'),
      stopped: trans.__(
        '“%1” is stopped. Start it in its row of the Loops panel.',
        this._title
      ),
      restart_needed: trans.__('It appears once the loop is recreated.')
    };
    return (
      <div role="status" className="jp-Loops-shared">
        {url !== null && (
          <>
            {url.startsWith('http') ? (
              <a href={url} target="_blank" rel="noopener noreferrer">
                {url}
              </a>
            ) : (
              // No browser opens it: it is for another program.
              <code>{url}</code>
            )}
            <span className="jp-Loops-buttons">
              <button
                type="button"
                className="jp-mod-styled jp-mod-reject"
                onClick={() => {
                  Clipboard.copyToSystem(url);
                  this._copied = url;
                  this.update();
                }}
              >
                {this._copied === url ? trans.__('Copied') : trans.__('Copy')}
              </button>
              {jupyter_path !== null && (
                <button
                  type="button"
                  className="jp-mod-styled jp-mod-reject"
                  onClick={() => {
                    openTab(
                      app,
                      jupyter_path,
                      trans.__('%1: port %2', this._title, this._sharing.port),
                      url
                    );
                    this._close();
                  }}
                >
                  {trans.__('Open in a Tab')}
                </button>
              )}
            </span>
          </>
        )}
        {states[state] !== undefined && <div>{states[state]}</div>}
      </div>
    );
  }

  private _values: ShareLoop;
  private _problem: LoopError | undefined;
  private _isBusy = false;
  private _copied = '';
  private _looking: IDisposable | undefined;
}

/** Opens a shared web server in a tab of Lab, through the Jupyter server, in an origin of its own. */
function openTab(
  app: JupyterFrontEnd,
  path: string,
  label: string,
  caption: string
): void {
  const content = new IFrame({
    sandbox: ['allow-scripts', 'allow-forms', 'allow-modals', 'allow-downloads']
  });
  content.url = URLExt.join(app.serviceManager.serverSettings.baseUrl, path);
  content.title.label = label;
  content.title.caption = caption;
  content.title.icon = loopIcon;
  content.title.closable = true;
  app.shell.add(new MainAreaWidget({ content }), 'main');
}

/** Shows the dialog until it is closed; each change is made at once. */
export async function shareLoop(
  options: IShareOptions,
  loop: Loop
): Promise<void> {
  const { manager, trans } = options;
  const path = `loops/${encodeURIComponent(loop.id)}/share`;
  const sharing: Sharing = await manager.call('GET', path);
  const title = fullTitle(loop, manager);
  const form = new ShareForm(options, path, title, sharing, () =>
    dialog.reject()
  );
  const dialog = new StayingDialog(
    {
      title: trans.__('Share “%1”', title),
      body: form,
      close: trans.__('Close'),
      accept: trans.__('Apply'),
      focusNodeSelector: '#jp-loops-share-mode'
    },
    () => form.apply()
  );
  await dialog.launch();
}
