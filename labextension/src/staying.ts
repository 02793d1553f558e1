import { Dialog } from '@jupyterlab/apputils';
import type { ReactWidget } from '@jupyterlab/ui-components';
import type { Message } from '@lumino/messaging';

import { ACCEPT, meant } from './form';
import { FormDialog } from './prompt';

interface IOptions {
  title: string;
  body: ReactWidget;
  /** Of the button that closes the dialog. */
  close: string;
  /** Of the button that does something, as Enter does; without it there is none. */
  accept?: string;
  focusNodeSelector?: string;
}

/** A dialog that stays open while its work is done, and closes only when the work says so. */
export class StayingDialog extends FormDialog<unknown> {
  /**
   * @param options - What it shows.
   * @param _work - Does what the form asks for; true when the dialog may close. It says itself what went wrong.
   */
  constructor(
    options: IOptions,
    private _work: () => Promise<boolean> = () => Promise.resolve(true)
  ) {
    super({
      title: options.title,
      body: options.body,
      buttons: [
        Dialog.cancelButton({ label: options.close }),
        ...(options.accept === undefined
          ? []
          : [Dialog.okButton({ label: options.accept })])
      ],
      ...(options.focusNodeSelector !== undefined && {
        focusNodeSelector: options.focusNodeSelector
      })
    });
    this._content = this.node.querySelector('.jp-Dialog-content')!;
    this._content.tabIndex = -1;
    this._hasAccept = options.accept !== undefined;
  }

  override resolve(index?: number): void {
    switch (meant(index, this._hasAccept)) {
      case 'work':
        void this._do();
        break;
      case 'press':
        (document.activeElement as HTMLElement).click();
        break;
      default:
        super.resolve(index);
    }
  }

  protected override onAfterAttach(message: Message): void {
    super.onAfterAttach(message);
    this._observer.observe(this.node, { childList: true, subtree: true });
  }

  protected override onBeforeDetach(message: Message): void {
    this._observer.disconnect();
    super.onBeforeDetach(message);
  }

  private async _do(): Promise<void> {
    if (this._isBusy) {
      return;
    }
    this._setBusy(true);
    const isDone = await this._work();
    this._setBusy(false);
    if (isDone) {
      super.resolve(ACCEPT);
    }
  }

  private _setBusy(isBusy: boolean): void {
    this._isBusy = isBusy;
    // Not disabled: that would take the focus from it, and so the keyboard from the dialog.
    const button = this.node.querySelector('.jp-Dialog-button.jp-mod-accept');
    button?.setAttribute('aria-disabled', String(isBusy));
  }

  private _content: HTMLElement;
  private _hasAccept: boolean;
  private _isBusy = false;
  /** What had the focus may be taken out of the form: the dialog keeps it, so that the keyboard goes on to work. */
  private _observer = new MutationObserver(() => {
    if (document.activeElement === document.body) {
      this._content.focus();
    }
  });
}
