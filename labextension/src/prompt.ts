import { Dialog } from '@jupyterlab/apputils';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';
import { MessageLoop } from '@lumino/messaging';
import { Widget } from '@lumino/widgets';
import { flushSync } from 'react-dom';

/** A dialog whose form is there, and has the focus, when it is painted first: whoever types at once is heard. */
export class FormDialog<T> extends Dialog<T> {
  /** @param options - With the form as their body. */
  constructor(private _options: Partial<Dialog.IOptions<T>>) {
    super(_options);
  }

  protected override onAfterAttach(message: Message): void {
    const { body } = this._options;
    if (body instanceof ReactWidget) {
      flushSync(() => MessageLoop.sendMessage(body, Widget.Msg.UpdateRequest));
      // JupyterLab would wait for a page that has nothing else to do, and take the focus then.
      body.renderPromise = Promise.resolve();
    }
    super.onAfterAttach(message);
  }
}
