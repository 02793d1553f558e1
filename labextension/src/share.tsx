import type { JupyterFrontEnd } from '@jupyterlab/application';
import {
  Clipboard,
  Dialog,
  IFrame,
  MainAreaWidget
} from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import type { ServerConnection } from '@jupyterlab/services';
import type { TranslationBundle } from '@jupyterlab/translation';
import { ReactWidget } from '@jupyterlab/ui-components';
import * as React from 'react';

import { LoopError, request } from './api';
import type { components } from './openapi';
import type { ILoopManager, Loop } from './tokens';

type Sharing = components['schemas']['Sharing'];
type ShareLoop = components['schemas']['ShareLoop'];

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
    private _sharing: Sharing
  ) {
    super();
    this.addClass('jp-Loops-form');
    const { mode, port, alias, protocol, public_port } = _sharing;
    this._values = { mode, port, alias, protocol, public_port };
  }

  getValue(): ShareLoop {
    const { mode, port, alias, protocol, public_port } = this._values;
    const named = mode === 'static' || mode === 'port';
    const numbered = mode === 'direct' || mode === 'ephemeral';
    return {
      mode,
      port: numbered || mode === 'port' ? port : null,
      alias: named && alias ? alias : null,
      protocol: numbered ? protocol : 'tcp',
      public_port: mode === 'direct' ? public_port : null
    };
  }

  /** Show what the server said: what is shared now, or what it refused. */
  explain(sharing: Sharing | undefined, problem: string | undefined): void {
    this._sharing = sharing ?? this._sharing;
    this._problem = problem;
    this.update();
  }

  private _set(changes: Partial<ShareLoop>): void {
    this._values = { ...this._values, ...changes };
    this._problem = undefined;
    this.update();
  }

  protected render(): React.ReactElement {
    const { trans } = this._options;
    const { mode, port, alias, protocol } = this._values;
    const named = mode === 'static' || mode === 'port';
    const numbered = mode === 'direct' || mode === 'ephemeral';
    return (
      <>
        {/* JupyterLab moves each select into a frame of its own, so each has a place where nothing else comes and goes. */}
        <div className="jp-Loops-field">
          <label htmlFor="jp-loops-share-mode">{trans.__('Share')}</label>
          <select
            id="jp-loops-share-mode"
            className="jp-mod-styled"
            value={mode}
            onChange={event =>
              this._set({ mode: event.target.value as ShareLoop['mode'] })
            }
          >
            <option value="off">{trans.__('Nothing')}</option>
            <option value="static">{trans.__('Files')}</option>
            <option value="port">{trans.__('A web server')}</option>
            <option value="direct">
              {trans.__('A port, at a fixed port of this machine')}
            </option>
            <option value="ephemeral">
              {trans.__('A port, at any port of this machine')}
            </option>
          </select>
        </div>
        {(numbered || mode === 'port') && (
          <div className="jp-Loops-field">
            <label htmlFor="jp-loops-share-port">
              {trans.__('Port in the loop')}
            </label>
            <input
              id="jp-loops-share-port"
              className="jp-mod-styled"
              type="number"
              min={1}
              max={65535}
              list="jp-loops-share-ports"
              value={port ?? ''}
              onChange={event =>
                this._set({
                  port:
                    event.target.value === ''
                      ? null
                      : Number(event.target.value)
                })
              }
            />
            <datalist id="jp-loops-share-ports">
              {this._sharing.listening
                .filter(found => found.reachable)
                .map(found => (
                  <option
                    key={`${found.port}/${found.protocol}`}
                    value={found.port}
                  />
                ))}
            </datalist>
            {this._listening()}
          </div>
        )}
        {numbered && (
          <div className="jp-Loops-field">
            <label htmlFor="jp-loops-share-protocol">
              {trans.__('Protocol')}
            </label>
            <select
              id="jp-loops-share-protocol"
              className="jp-mod-styled"
              value={protocol}
              onChange={event =>
                this._set({
                  protocol: event.target.value as ShareLoop['protocol']
                })
              }
            >
              <option value="tcp">TCP</option>
              <option value="udp">UDP</option>
            </select>
          </div>
        )}
        {named && (
          <div className="jp-Loops-field">
            <label htmlFor="jp-loops-share-alias">{trans.__('Name')}</label>
            <input
              id="jp-loops-share-alias"
              className="jp-mod-styled"
              value={alias ?? ''}
              placeholder={trans.__('The beginning of the loop’s id')}
              onChange={event => this._set({ alias: event.target.value })}
            />
          </div>
        )}
        {this._found()}
        {this._problem !== undefined && (
          <div role="alert" className="jp-Loops-problem">
            {this._problem}
          </div>
        )}
      </>
    );
  }

  /** Ports that programs in the loop listen on. */
  private _listening(): React.ReactElement | null {
    const { trans } = this._options;
    const { listening } = this._sharing;
    if (listening.length === 0) {
      return null;
    }
    const ports = listening.map(found =>
      found.reachable
        ? `${found.port}/${found.protocol}`
        : trans.__('%1/%2 (on 127.0.0.1 alone)', found.port, found.protocol)
    );
    return <div>{trans.__('Programs listen on %1.', ports.join(', '))}</div>;
  }

  /** Where it is found, to copy and to open. */
  private _found(): React.ReactElement | null {
    const { app, trans } = this._options;
    const { url, jupyter_path, state } = this._sharing;
    const states: Partial<Record<Sharing['state'], string>> = {
      not_listening: trans.__('Nothing answers at this port yet.'),
      stopped: trans.__('The loop is stopped.'),
      restart_needed: trans.__('It appears when the sandbox is made anew.')
    };
    return (
      <>
        {url !== null && (
          <div role="status">
            <a href={url} target="_blank" rel="noopener noreferrer">
              {url}
            </a>{' '}
            <button
              type="button"
              className="jp-mod-styled"
              onClick={() => Clipboard.copyToSystem(url)}
            >
              {trans.__('Copy')}
            </button>
            {jupyter_path !== null && (
              <button
                type="button"
                className="jp-mod-styled"
                onClick={() => openTab(app, jupyter_path, url)}
              >
                {trans.__('Open in a tab')}
              </button>
            )}
          </div>
        )}
        {states[state] !== undefined && <div>{states[state]}</div>}
      </>
    );
  }

  private _values: ShareLoop;
  private _problem: string | undefined;
}

/** Opens a shared web server in a tab of Lab, through the Jupyter server, in an origin of its own. */
function openTab(app: JupyterFrontEnd, path: string, title: string): void {
  const content = new IFrame({
    sandbox: ['allow-scripts', 'allow-forms', 'allow-modals', 'allow-downloads']
  });
  content.url = URLExt.join(app.serviceManager.serverSettings.baseUrl, path);
  content.title.label = title.replace(/^http:\/\//, '');
  content.title.closable = true;
  app.shell.add(new MainAreaWidget({ content }), 'main');
}

/** Shows the dialog until it is closed; each change is made at once, and the address stays to be copied. */
export async function shareLoop(
  options: IShareOptions,
  loop: Loop
): Promise<void> {
  const { app, manager, trans } = options;
  const settings: ServerConnection.ISettings =
    app.serviceManager.serverSettings;
  const path = `loops/${encodeURIComponent(loop.id)}/share`;
  const form = new ShareForm(
    options,
    await request<Sharing>(settings, 'GET', path)
  );
  for (;;) {
    const dialog = new Dialog<ShareLoop>({
      title: trans.__('Share %1', loop.title),
      body: form,
      buttons: [
        Dialog.cancelButton({ label: trans.__('Close') }),
        Dialog.okButton({ label: trans.__('Apply') })
      ],
      focusNodeSelector: '#jp-loops-share-mode'
    });
    const answer = await dialog.launch();
    if (!answer.button.accept || answer.value === null) {
      return;
    }
    try {
      form.explain(
        await request<Sharing>(settings, 'PUT', path, answer.value),
        undefined
      );
      await manager.refresh();
    } catch (error) {
      form.explain(
        undefined,
        error instanceof LoopError ? error.message : String(error)
      );
    }
    // The dialog took its body along when it closed.
    form.parent = null;
  }
}
